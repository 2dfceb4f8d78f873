"""Group commit: all writes of an engine, one batch at a time.

While a batch is being committed, whatever happens gathers for the next one. Idle, a fact is committed at once, on the loop if the
store can; busy, one fsync carries hundreds. There is no timer to tune.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

from outlive.errors import InternalError, StoreError, StoreUnavailable
from outlive.model.entries import Busy, Entry, Outcome, Rejected
from outlive.model.ids import WorkerId
from outlive.stores.protocol import Store

log: Final = logging.getLogger("outlive.journal")

MAX_ENTRIES: Final = 1_000
MAX_BYTES: Final = 16 * 1024 * 1024
MAX_WAITING: Final = 20_000
"""Requests that may wait for the store; callers of more are held back."""
BUSY_PAUSE: Final = 2.0
"""Seconds before a run is tried again that somebody's transaction holds."""
FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 5.0


class Source(Protocol):
    """A run, or a step in a queue, with something to write."""

    def collect(self) -> tuple[Entry, int] | None:
        """What to append, and about how many bytes it is; None if there is nothing after all."""
        ...

    def settled(self, outcome: Outcome) -> None:
        """The commit that was collected last has this outcome."""
        ...

    def failed(self, error: Exception) -> None:
        """What followed the commit went wrong in a way it should not."""
        ...

    def put_back(self) -> None:
        """The commit that was collected last did not happen; it will be collected again."""
        ...


class Request(NamedTuple):
    """An entry of somebody outside."""

    entry: Entry
    done: asyncio.Future[Outcome]
    then: Callable[[Outcome], None]


class Journal:
    """The only writer of an engine. Lives on one event loop."""

    def __init__(self, store: Store) -> None:
        self.worker: WorkerId | None = None
        self.failure: StoreUnavailable | None = None
        """Why nothing is accepted now."""
        self.on_mended: Callable[[], None] = lambda: None
        """Called when the store can be written again; what it did last may have happened though it said otherwise."""
        self._store = store
        self._dirty: dict[Source, None] = {}
        self._lazy: dict[Source, None] = {}
        self._requests: list[Request] = []
        self._scheduled = False
        self._task: asyncio.Task[list[Outcome]] | None = None
        self._down = False
        self._pause = FIRST_PAUSE
        self._idle: list[asyncio.Future[None]] = []
        self._room: list[asyncio.Future[None]] = []
        self._closed = False

    # --- what comes in -----------------------------------------------------------------------------------------------

    def touch(self, source: Source) -> None:
        """``source`` has something that should be durable soon."""
        self._dirty[source] = None
        if not self._scheduled:
            self._schedule()

    def lazy(self, source: Source) -> None:
        """``source`` has something that may ride in whatever commit leaves next."""
        self._lazy[source] = None

    def forget(self, source: Source) -> None:
        self._dirty.pop(source, None)
        self._lazy.pop(source, None)

    async def request(self, entry: Entry, *, then: Callable[[Outcome], None] = lambda _outcome: None) -> Outcome:
        """Write ``entry`` of somebody outside; its outcome, once it is durable.

        ``then`` is told of the outcome even if the caller has left by then: what was written has consequences.

        Raises:
            StoreUnavailable: It was not written.
            InternalError: The store can't write it, whoever tries. Not an outcome: one that a caller forgets would be an acknowledgement.
        """
        loop = asyncio.get_running_loop()
        while True:
            if self.failure is not None:
                raise StoreUnavailable(str(self.failure)) from self.failure
            if self._closed:
                raise StoreUnavailable("the engine is closed")
            if len(self._requests) < MAX_WAITING:
                break
            room: asyncio.Future[None] = loop.create_future()
            self._room.append(room)
            await room
        done: asyncio.Future[Outcome] = loop.create_future()
        self._requests.append(Request(entry, done, then))
        if not self._scheduled:
            self._schedule()
        # a caller who leaves takes nothing back: the request stays, and its consequences are told to ``then``
        outcome = await done
        if isinstance(outcome, Rejected):
            raise InternalError(f"the store refused it: {outcome.reason}")
        return outcome

    async def flush(self) -> None:
        """Wait until everything that has come in so far is durable, or the store is found to be down."""
        while (self._dirty or self._requests or self._task is not None) and self.failure is None:
            idle: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._idle.append(idle)
            await idle

    async def settled(self) -> None:
        """Wait for the outcome of the batch that is being committed, if there is one."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def close(self) -> None:
        await self.flush()
        self._closed = True
        await self.settled()
        for request in self._requests:
            if not request.done.done():
                request.done.set_exception(StoreUnavailable("the engine was closed before this was written"))
        self._make_room()

    # --- what goes out -----------------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        if self._task is None and self.failure is None and not self._closed:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _take(self) -> tuple[list[Source], list[Request], list[Entry]]:
        """The next batch: requests first, so that a knock takes in what was just delivered."""
        requests = self._requests[: MAX_ENTRIES // 2 if self._dirty else MAX_ENTRIES]  # nobody starves
        del self._requests[: len(requests)]
        entries = [request.entry for request in requests]
        sources: list[Source] = []
        size = 0
        for waiting in (self._dirty, self._lazy):
            if waiting is self._lazy and not entries:
                break  # what is lazy makes no commit leave
            while waiting and len(entries) < MAX_ENTRIES and size < MAX_BYTES:
                source = next(iter(waiting))
                del waiting[source]
                if waiting is self._dirty:
                    self._lazy.pop(source, None)
                collected = source.collect()
                if collected is not None:
                    entries.append(collected[0])
                    size += collected[1]
                    sources.append(source)
        return sources, requests, entries

    def _flush(self) -> None:
        self._scheduled = False
        if self._task is not None or self._closed:
            return
        sources, requests, entries = self._take()
        if not entries:
            self.failure = None  # nothing is left to try again: the next who comes finds out
            self._rest()
            return
        try:
            outcomes = self._store.commit_now(self.worker, entries)
        except Exception as error:
            self._failed(sources, requests, _as_failure(error))
            return
        if outcomes is not None:
            self._settle(sources, requests, outcomes)
            return
        self._task = asyncio.get_running_loop().create_task(self._store.commit(self.worker, entries))
        self._task.add_done_callback(lambda task: self._committed(sources, requests, task))

    def _committed(
        self,
        sources: list[Source],
        requests: list[Request],
        task: asyncio.Task[list[Outcome]],
    ) -> None:
        self._task = None
        if task.cancelled():
            self._failed(sources, requests, StoreUnavailable("the commit was cancelled"))
            return
        error = task.exception()
        if error is None:
            self._settle(sources, requests, task.result())
        else:
            self._failed(sources, requests, _as_failure(error))

    def _settle(
        self,
        sources: Sequence[Source],
        requests: Sequence[Request],
        outcomes: list[Outcome],
    ) -> None:
        if self._down:
            log.warning("the store can be written again")
            asyncio.get_running_loop().call_soon(self.on_mended)
        self.failure, self._down, self._pause = None, False, FIRST_PAUSE
        if any(isinstance(outcome, Busy) for outcome in outcomes):  # one of them may have happened after all
            asyncio.get_running_loop().call_later(BUSY_PAUSE, self.on_mended)
        for request, outcome in zip(requests, outcomes, strict=False):
            if isinstance(outcome, Busy):
                _refuse(request, outcome.reason)
                continue
            request.then(outcome)
            if not request.done.done():
                request.done.set_result(outcome)
        for source, outcome in zip(sources, outcomes[len(requests) :], strict=True):
            if isinstance(outcome, Busy):
                log.warning("a commit waits: %s", outcome.reason)
                source.put_back()
                asyncio.get_running_loop().call_later(BUSY_PAUSE, self.touch, source)
                continue
            try:
                source.settled(outcome)
            except Exception as error:
                # one run's trouble, even a bug of ours, must not keep the others of its batch from going on
                log.critical("can't go on with a run after its commit", exc_info=error)
                source.failed(error)
        self._make_room()
        if not (self._dirty or self._requests):
            self._rest()
        elif not self._scheduled:
            self._schedule()

    def _make_room(self) -> None:
        """Those who are held back look again."""
        for room in self._room:
            if not room.done():
                room.set_result(None)
        self._room.clear()

    def _rest(self) -> None:
        for idle in self._idle:
            if not idle.done():
                idle.set_result(None)
        self._idle.clear()

    def _failed(self, sources: Sequence[Source], requests: Sequence[Request], error: StoreError) -> None:
        """Nothing of the batch happened. Requests are told; what runs have found stays, and is tried again until it is written."""
        failure = error if isinstance(error, StoreUnavailable) else StoreUnavailable(str(error))
        if not self._down:
            self._down = True
            log.error("the store can't be written, nothing new is accepted: %s", error)
        self.failure = failure
        for source in sources:
            source.put_back()
            self._dirty[source] = None
        for request in (*requests, *self._requests):
            _refuse(request, str(error))
        self._requests.clear()
        self._make_room()
        self._rest()
        asyncio.get_running_loop().call_later(self._pause, self._retry)
        self._pause = min(self._pause * 2, LONGEST_PAUSE)

    def _retry(self) -> None:
        """Try again what runs have found; with nothing to try, let the next request find out."""
        if not self._closed and self._task is None:
            self._flush()


def _as_failure(error: BaseException) -> StoreError:
    if isinstance(error, StoreError):
        return error
    log.critical("the store failed in a way it should not", exc_info=error)
    return StoreUnavailable(f"{type(error).__name__}: {error}")


def _refuse(request: Request, why: str) -> None:
    """It was not written."""
    if not request.done.done():
        request.done.set_exception(StoreUnavailable(why))
        request.done.exception()  # its caller may have left
