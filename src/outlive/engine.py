"""The engine: a store, a journal and, unless told otherwise, a worker. The only module that knows everything below."""

from __future__ import annotations

import asyncio
import contextvars
import os
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping
from contextvars import Token
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, ParamSpec, Self, TypeVar, cast
from urllib.parse import urlsplit

import msgspec
from msgspec import Raw

from outlive._codec import Codec, digest
from outlive._core import others, outcomes, payloads
from outlive._core.authoring import Workflow, check_queue, whole
from outlive._core.context import current
from outlive._core.guard import Guard, GuardMode
from outlive._core.registry import Registry, registry
from outlive._core.seeds import hash_token
from outlive._core.streams import check_name
from outlive._core.texts import LONGEST_ID, LONGEST_KEY, LONGEST_REASON, check_text
from outlive._runtime import versions
from outlive._runtime.location import default_url
from outlive._runtime.options import WorkerOptions, served
from outlive._runtime.run_ids import made_run_id
from outlive.carried import teach
from outlive.errors import ConfigurationError, NonDeterminismError, RunNotFound
from outlive.handles import Run, ambient, default
from outlive.infos import HookInfo, RunEvent, RunInfo, hook_info, run_event, run_info, stream_info, when
from outlive.model import entries as en
from outlive.model import events as ev
from outlive.model.events import Payload
from outlive.model.ids import RunId
from outlive.model.records import RunStatus
from outlive.model.streams import Chunk, decode_reset
from outlive.readers import Readable, StreamInfo, StreamItem, StreamReset, stream_source
from outlive.stores.opening import SystemClock, open_store
from outlive.stores.protocol import Clock, RunFilter, Store

if TYPE_CHECKING:
    from outlive._runtime.ends import Ends
    from outlive._runtime.journal import Journal
    from outlive._runtime.notices import Notices
    from outlive._runtime.requests import Requests
    from outlive._runtime.transactions import Begin
    from outlive._runtime.worker import Worker

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

DEFAULT_BASE_URL: Final = "http://localhost:8000"
MOST_LIMIT: Final = 2**31 - 1


class Engine:
    """Runs workflows. ``async with Engine(url) as engine`` makes this process a worker as well as a client.

    Args:
        url: ``sqlite:///path``; ``postgresql://user@host/database``, whose schema ``?schema=`` names; ``memory://``. Unset:
            ``$OUTLIVE_URL``, else the nearest ``.outlive/``.
        worker: Whether this engine executes runs; without, it starts them and reads results.
        durability: ``"power"``: an acknowledged fact survives loss of power. ``"process"``: it survives the death of the process.
        guard: ``"strict"`` (default under pytest), ``"cheap"`` (default elsewhere) or ``"off"``; also ``$OUTLIVE_GUARD``. See ``docs/guard.md``.
        base_url: Where the world reaches this engine, or a server beside it: what the URLs of webhooks begin with. Unset:
            ``$OUTLIVE_BASE_URL``, else ``http://localhost:8000``.
        shutdown_grace: Seconds that running steps get to end when the engine closes.
        store: An open store of your own, instead of ``url``.
        only: Work on this run and its descendants alone.
        transactions: How steps with ``transaction=True`` begin a transaction: gives an async context manager that gives the connection and
            commits at its end, such as ``pool.connection`` of psycopg or ``async_sessionmaker(...).begin``. It must be the store's database.
        queues: Which queues to take steps and runs from; a mapping also says how many steps of each at once, here. None: all. Runs are in
            ``default`` unless they say otherwise. See ``docs/queues.md``.
        on_hopeless: Called, in a thread, when a body blocks this process and can't be stopped; the lease is let go then. A process that
            is nothing but a worker should end itself here.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        worker: bool = True,
        durability: Literal["power", "process"] = "power",
        guard: str | None = None,
        base_url: str | None = None,
        shutdown_grace: float = 5.0,
        options: WorkerOptions | None = None,
        registry: Registry = registry,
        clock: Clock | None = None,
        store: Store | None = None,
        only: str | None = None,
        transactions: Begin | None = None,
        queues: Collection[str] | Mapping[str, int | None] | None = None,
        on_hopeless: Callable[[], None] = lambda: None,
    ) -> None:
        self.clock: Clock = clock or SystemClock()
        self.registry = registry
        self.codec: Codec = Codec(registry.types)
        self.url = url
        self._durability: Literal["power", "process"] = durability
        self._guard = Guard(GuardMode(guard or os.environ.get("OUTLIVE_GUARD") or _usual_guard()))
        self._grace = shutdown_grace
        self.base_url: str = _base_url(base_url or os.environ.get("OUTLIVE_BASE_URL") or DEFAULT_BASE_URL)
        self._options = options
        self._works = worker
        self._transactions = transactions
        self._queues = None if queues is None else served(queues)
        self._on_hopeless = on_hopeless
        self._only = RunId(only) if only is not None else None
        self._given = store
        self._store: Store | None = None
        self._journal: Journal | None = None
        self._worker: Worker | None = None
        self._notices: Notices | None = None
        self._token: Token[Any] | None = None
        self._requests: Requests | None = None
        self._ends: Ends | None = None
        teach(registry)

    # --- life --------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open the store and begin to work."""
        if self._store is not None:
            raise ConfigurationError("this engine is open already")
        # a program that only defines workflows, or asks for the help of a command, need not load what runs them
        from outlive._runtime import processes
        from outlive._runtime.ends import Ends
        from outlive._runtime.journal import Journal
        from outlive._runtime.notices import Notices
        from outlive._runtime.requests import Requests
        from outlive._runtime.worker import Worker

        if processes.importing:
            raise ConfigurationError(
                "an engine was opened while the process of a step imported its module, which would go on without end; put what "
                'the program does under: if __name__ == "__main__":'
            )
        options = self._options or WorkerOptions()
        if self._queues is not None:
            options = msgspec.structs.replace(options, **self._queues)
        store = self._given or open_store(self.url or default_url(), self.clock, self._durability)
        if self._given is None:
            await store.open()
        self._store = store
        self._journal = Journal(store)
        base = contextvars.copy_context()
        base.run(ambient.set, self)
        base.run(stream_source.set, self)
        if self._works:
            self._worker = Worker(
                store=store,
                journal=self._journal,
                registry=self.registry,
                codec=self.codec,
                guard=self._guard,
                clock=store.clock,
                base=base,
                options=options,
                make_handle=lambda run: Run[Any](run, self),
                on_left=self._run_left,
                on_hopeless=self._on_hopeless,
                on_news=self._news,
                base_url=self.base_url,
                root=self._only,
                transactions=self._transactions,
            )
            await self._worker.open()
        self._notices = Notices(
            store,
            self._worker,
            look_every=store.pace.look_every if options.look_every is None else options.look_every,
            read_again=store.pace.read_again,
        )
        self._notices.open()
        self._requests = Requests(store, self._journal, self._notices, told=self._told)
        self._ends = Ends(store, self._notices, self._worker)
        default.append(self)

    async def close(self) -> None:
        """Let running steps end within the grace, write what is known, hand over the rest."""
        if self._store is None:
            return
        if self in default:
            default.remove(self)
        if self._notices is not None:
            await self._notices.close()
        if self._worker is not None:
            await self._worker.close(self._grace)
        assert self._journal is not None, "an open engine has a journal"
        await self._journal.close()
        if self._given is None:
            await self._store.close()
        self._store = self._journal = self._worker = self._notices = self._requests = self._ends = None

    async def __aenter__(self) -> Self:
        await self.open()
        self._token = ambient.set(self)
        self._stream_token = stream_source.set(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            ambient.reset(self._token)
            stream_source.reset(self._stream_token)
            self._token = None
        await self.close()

    @property
    def closed(self) -> bool:
        """It was not opened, or is closed again."""
        return self._store is None

    @property
    def store(self) -> Store:
        """The open store.

        Raises:
            ConfigurationError: The engine was not opened.
        """
        return self._opened(self._store)

    @property
    def journal(self) -> Journal:
        return self._opened(self._journal)

    @property
    def requests(self) -> Requests:
        """For servers of webhooks."""
        return self._opened(self._requests)

    @property
    def worker(self) -> Worker | None:
        return self._worker

    def _opened(self, part: T | None) -> T:
        if part is None:
            raise ConfigurationError("this engine is not open; use: async with Engine(...) as engine")
        return part

    # --- starting ----------------------------------------------------------------------------------------------------

    def start(self, workflow: Workflow[P, R], *args: P.args, **kwargs: P.kwargs) -> Coroutine[object, None, Run[R]]:
        """Start a run; its handle, once it is durable. With ``.options(run_id=...)`` the same call gives the same run.

        Raises:
            RunConflict: The id belongs to a run of another workflow or input.
            SerializationError: An argument can't be carried.
            StoreUnavailable: It was not started.
        """
        machine = current()
        if machine is not None:
            return others.start_child(machine, workflow, args, kwargs)
        return self._start(workflow, args, kwargs)

    def on(self, connection: object) -> Guest:
        """Start runs in a transaction of yours, on its ``connection``: they exist if and when that commits.

            async with pool.connection() as connection:
                await connection.execute("INSERT INTO orders ...")
                run = await engine.on(connection).start(fulfil, order)

        It must be a transaction in the store's database, on PostgreSQL. A worker finds the run within a second of the commit.
        """
        return Guest(self, connection)

    async def _start(self, workflow: Workflow[Any, R], args: tuple[object, ...], kwargs: dict[str, object]) -> Run[R]:
        journal = self.journal
        new = self._new_run(workflow, args, kwargs)
        outcome = await journal.request(new, then=self._was_created)
        return self._started(new.id, outcome)

    async def start_on(
        self, connection: object, workflow: Workflow[Any, R], args: tuple[object, ...], kwargs: dict[str, object]
    ) -> Run[R]:
        new = msgspec.structs.replace(self._new_run(workflow, args, kwargs), claim=False)
        return self._started(new.id, await self.store.create_on(connection, new))

    def _started(self, run: RunId, outcome: en.Outcome) -> Run[Any]:
        match outcome:
            case en.Created() | en.Existing(same=True):
                return Run(run, self)
            case en.Existing():
                raise outcomes.conflict(run)
            case _:
                raise AssertionError(f"{outcome} is not the outcome of a new run")

    def _new_run(self, workflow: Workflow[Any, Any], args: tuple[object, ...], kwargs: dict[str, object]) -> en.NewRun:
        if not isinstance(cast("object", workflow), Workflow):  # whoever checks no types
            raise TypeError(f"{workflow!r} is not a workflow; decorate it with @workflow")
        encoded = self.codec.encode(workflow.binder.bind(args, kwargs), what=workflow.name)
        mark = digest(encoded)
        run = RunId(workflow.run_id) if workflow.run_id is not None else made_run_id(workflow.name, mark)
        worker = self._worker
        claim = (
            worker is not None
            and worker.can_adopt(workflow.queue)
            and self.registry.workflows.get(workflow.name) is not None
            and (self._only is None or self._only == run)
        )
        return versions.new_run(
            id=run,
            workflow=workflow.name,
            input=Raw(encoded),
            digest=mark,
            tags=workflow.tags,
            claim=claim,
            queue=workflow.queue,
        )

    def _was_created(self, outcome: en.Outcome) -> None:
        if self._worker is not None:
            if isinstance(outcome, en.Created):
                self._worker.created(outcome)
            else:
                self._worker.poke()

    def get_run(self, run_id: str) -> Run[Any]:
        """A handle on a run by its id; whether it exists shows when it is used.

        Raises:
            ValueError: No run can have it.
        """
        return Run(run_id, self)

    async def list_runs(
        self,
        *,
        status: RunStatus | str | None = None,
        workflow: str | None = None,
        tag: str | None = None,
        root: str | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> list[RunInfo]:
        """Runs that fit, newest first; ``before`` is the last id of the page before.

        Raises:
            ValueError: It asks for what nothing can be called.
        """
        for text in (workflow, tag, root, before):
            if text is not None:
                check_text(text, "a filter", most=LONGEST_ID)
        where = RunFilter(
            status=RunStatus(status) if status is not None else None,
            workflow=workflow,
            tag=tag,
            root=RunId(root) if root is not None else None,
            before=RunId(before) if before is not None else None,
            limit=limit,
        )
        return [run_info(record) for record in await self.store.runs(where)]

    # --- queues ------------------------------------------------------------------------------------------------------

    async def limit_queue(self, queue: str, limit: int | None) -> None:
        """At most ``limit`` steps of ``queue`` run at once, across all workers; None: as many as they take. What runs is left to end."""
        check_queue(queue)
        if limit is not None and not 0 <= whole(limit, "a limit") <= MOST_LIMIT:
            raise ValueError(f"a limit is a number of steps: 0 to {MOST_LIMIT}")
        await self.store.limit_queue(queue, limit)

    # --- hooks -------------------------------------------------------------------------------------------------------

    def resume_hook(
        self, token: str, payload: object = None, *, idempotency_key: str = ""
    ) -> Coroutine[object, None, None]:
        """Send ``payload`` to the hook that holds ``token``; see :func:`outlive.resume_hook`."""
        machine = current()
        if machine is not None:
            return others.send(machine, token, payload)
        return self.deliver(token, payload, None, None, idempotency_key)

    async def get_hook(self, token: str) -> HookInfo:
        """The open hook that holds ``token``.

        Raises:
            HookNotFound: There is none.
        """
        record = await self.store.hook(hash_token(token))
        if record is None:
            raise outcomes.hook_refused("not_found")
        return hook_info(record)

    async def deliver(self, token: str, value: object, payload: Payload | None, kind: object, key: str) -> None:
        """Accept a payload: a Python value, or with ``payload`` the bytes of somebody else."""
        check_text(key, "an idempotency key", most=LONGEST_KEY)
        if kind is None:
            # None is for the store to refuse: ``key`` may have been accepted
            record = await self.store.hook(hash_token(token))
            kind = self.registry.types.lookup(record.schema) if record is not None and record.schema else None
        packed = payload if payload is not None else payloads.write(value, self.codec)
        if kind is not None:
            payloads.read(packed, kind, self.codec)  # a bad one is refused here rather than in the workflow (R20)
        message = en.Message(kind="payload", token_hash=hash_token(token), payload=packed, key=key)
        outcome = await self.journal.request(message, then=self._told)
        if isinstance(outcome, en.Refused):
            raise outcomes.hook_refused(outcome.reason)
        assert isinstance(outcome, en.Accepted), f"{outcome} is not the outcome of a message"

    # --- streams -----------------------------------------------------------------------------------------------------

    async def read_stream(self, run: RunId, name: str, start: int, reader: Readable) -> AsyncIterator[StreamItem]:
        """What :class:`~outlive.readers.Readable` iterates over."""
        from outlive._runtime.reading import StreamReading

        check_name(name)
        reading = StreamReading(self.store, self._opened(self._notices), run, name, start=start)
        async for chunk in reading.chunks():
            yield StreamItem(index=chunk.index, time=when(chunk.time), value=self._chunk_value(chunk))
        reader.reason = reading.reason

    def _chunk_value(self, chunk: Chunk) -> object:
        if chunk.kind == "bytes":
            return chunk.data
        if chunk.kind == "reset":
            return StreamReset(decode_reset(chunk.data).since)
        return self.codec.decode(Raw(chunk.data))

    async def stream_info(self, run: RunId, name: str) -> StreamInfo | None:
        record = await self.store.stream(run, check_name(name))
        return None if record is None else stream_info(record)

    async def list_streams(self, run: RunId) -> list[StreamInfo]:
        return [stream_info(record) for record in await self.store.streams(run)]

    # --- what handles ask (handles.Backend) --------------------------------------------------------------------------

    async def await_result(self, run: RunId, timeout: float | None, *, or_parked: bool = False) -> object:
        """The result of ``run`` once it has ended; with ``or_parked`` raise ``RunParked`` if it is stopped for a human."""
        async with asyncio.timeout(timeout):
            last = await self._opened(self._ends).of(run, or_parked=or_parked)
        match last:
            case ev.RunCompleted(result=result):
                return self.codec.decode(result)
            case ev.RunFailed(error=error):
                value = outcomes.of_run(run, "failed", error, self.codec)
            case ev.RunTerminated(reason=reason):
                value = outcomes.of_run(run, "terminated", Raw(self.codec.encode(reason)), self.codec)
            case _:
                value = outcomes.of_run(run, "cancelled", ev.NOTHING, self.codec)
        assert isinstance(value, outcomes.Raise), "a run that did not complete has an exception"
        raise value.error

    async def request_cancel(self, run: RunId) -> bool:
        return await self._request(en.Message(kind="cancel", run=run))

    async def request_wake_up(self, run: RunId) -> bool:
        return await self._request(en.Message(kind="wake", run=run))

    async def request_termination(self, run: RunId, reason: str) -> bool:
        check_text(reason, "a reason", most=LONGEST_REASON)
        done = await self._request(en.Terminate(run=run, reason=reason))
        self._run_left(run)
        return done

    async def _request(self, entry: en.Entry) -> bool:
        outcome = await self.journal.request(entry, then=self._told)
        if isinstance(outcome, en.Refused):
            if outcome.reason == "not_found":
                raise RunNotFound("there is no such run")
            return False
        assert isinstance(outcome, en.Accepted), f"{outcome} is not the outcome of a message"
        return True

    async def info(self, run: RunId) -> RunInfo:
        record = await self.store.run(run)
        if record is None:
            raise RunNotFound(f"there is no run {run}")
        unretrieved: tuple[str, ...] = ()
        if record.status.ended:
            last = (await self.store.log(run, record.link, after=record.seq - 1))[-1].event
            unretrieved = getattr(last, "unretrieved", ())
        return msgspec.structs.replace(
            run_info(record), open_hooks=len(await self.store.hooks(run)), unretrieved=unretrieved
        )

    async def events(self, run: RunId, link: int | None, *, after: int = 0, limit: int | None = None) -> list[RunEvent]:
        record = await self.store.run(run)
        if record is None:
            raise RunNotFound(f"there is no run {run}")
        number = record.link if link is None else link
        log = await self.store.log(run, number, after=after, limit=limit)
        return [run_event(run, number, recorded) for recorded in log]

    async def await_end(self, run: RunId, timeout: float) -> None:
        """Wait until ``run`` has ended.

        Raises:
            RunNotFound: There is no such run.
            TimeoutError: It has not ended in time.
        """
        async with asyncio.timeout(timeout):
            await self._opened(self._ends).of(run)

    async def check(self) -> None:
        """Whether requests can be served now.

        Raises:
            StoreUnavailable: The store can't be read, or could not be written when that was last tried.
        """
        if self.journal.failure is not None:
            raise self.journal.failure
        await self.store.run(RunId("-"))

    def _told(self, outcome: en.Outcome) -> None:
        if isinstance(outcome, en.Accepted) and self._worker is not None:
            if outcome.owner == self._worker.id:
                self._worker.knock(outcome.run)
            else:
                self._worker.poke()

    def _news(self, about: tuple[str, ...]) -> None:
        if self._notices is not None:
            for what in about:
                self._notices.tell(what)

    def _run_left(self, run: RunId, outcome: ev.RunOutcome | None = None) -> None:
        if self._notices is not None:
            self._notices.tell(run, outcome)


class Guest:
    """An engine as it is inside a transaction of somebody else's; see :meth:`Engine.on`."""

    def __init__(self, engine: Engine, connection: object) -> None:
        self._engine = engine
        self._connection = connection

    def start(self, workflow: Workflow[P, R], *args: P.args, **kwargs: P.kwargs) -> Coroutine[object, None, Run[R]]:
        """Start a run, if the transaction commits; as :meth:`Engine.start` otherwise.

        Raises:
            ConfigurationError: The store is not on PostgreSQL, or the connection is none that can be used.
            RunConflict: The id belongs to a run of another workflow or input.
        """
        if current() is not None:
            raise NonDeterminismError("a workflow body holds no connection; start the run in a step, or without one")
        return self._engine.start_on(self._connection, workflow, args, kwargs)


def _usual_guard() -> GuardMode:
    """Under pytest what differs on replay should be found; in production the body should be fast."""
    return GuardMode.STRICT if "PYTEST_CURRENT_TEST" in os.environ else GuardMode.CHEAP


def _base_url(given: str) -> str:
    """Without the slash at its end.

    Raises:
        ConfigurationError: It is not a URL of http.
    """
    parts = urlsplit(given)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ConfigurationError(f"{given!r} can't be a base_url; write https://example.com, with a path if need be")
    return given.rstrip("/")
