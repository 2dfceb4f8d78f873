"""What callers hold: runs and hooks. Inside a workflow body the same calls are recorded commands (R36)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextvars import ContextVar
from typing import Any, Final, Generic, Protocol, TypeVar, cast

from outlive._core import others
from outlive._core.context import current
from outlive._core.hooks import Hook, create_hook
from outlive._core.streams import check_name
from outlive._core.texts import LONGEST_ID, check_text
from outlive.errors import ConfigurationError, NonDeterminismError
from outlive.infos import RunEvent, RunInfo
from outlive.model.events import Payload
from outlive.model.ids import RunId
from outlive.model.records import RunStatus
from outlive.readers import Readable, StreamInfo, StreamItem

R = TypeVar("R")
T = TypeVar("T")


class Backend(Protocol):
    """What handles need of an engine."""

    async def await_result(self, run: RunId, timeout: float | None) -> object: ...
    async def request_cancel(self, run: RunId) -> bool: ...
    async def request_wake_up(self, run: RunId) -> bool: ...
    async def request_termination(self, run: RunId, reason: str) -> bool: ...
    async def info(self, run: RunId) -> RunInfo: ...
    async def events(self, run: RunId, link: int | None) -> list[RunEvent]: ...
    def read_stream(self, run: RunId, name: str, start: int, reader: Readable) -> AsyncIterator[StreamItem]: ...
    async def stream_info(self, run: RunId, name: str) -> StreamInfo | None: ...
    async def list_streams(self, run: RunId) -> list[StreamInfo]: ...
    async def deliver(self, token: str, value: object, payload: Payload | None, kind: object, key: str) -> None: ...


ambient: Final[ContextVar[Backend]] = ContextVar("outlive_engine")
"""The engine that this code runs under."""

default: Final[list[Backend]] = []
"""Engines open in this process, for code that runs under none."""


def backend() -> Backend:
    """The ambient engine, or the only one that is open.

    Raises:
        ConfigurationError: There is none, or more than one.
    """
    engine = ambient.get(None)
    if engine is not None:
        return engine
    if len(default) == 1:
        return default[0]
    raise ConfigurationError(
        "no engine is open here; open one: async with Engine() as engine: ..."
        if not default
        else "several engines are open; call the method of the one you mean: engine.start(...)"
    )


def _live(what: str) -> None:
    if current() is not None:
        raise NonDeterminismError(f"{what} reads live state, which differs on replay; read it in a step")


class Run(Generic[R]):
    """A handle on a run: cheap, passes to steps as an argument, and works in every process that opens the same store."""

    __slots__ = ("_backend", "id")

    def __init__(self, id: str, backend: Backend | None = None) -> None:
        self.id: RunId = RunId(check_text(id, "the id of a run", most=LONGEST_ID))
        self._backend = backend

    @property
    def _engine(self) -> Backend:
        return self._backend if self._backend is not None else backend()

    def result(self, timeout: float | None = None) -> Coroutine[object, None, R]:
        """Wait for the run to end; its result. In a workflow body nothing is held or polled meanwhile.

        Args:
            timeout: Seconds to wait; the run goes on regardless.

        Raises:
            RunFailed: It ended with an exception, which is the ``__cause__``.
            RunCancelled: It was cancelled.
            RunTerminated: It was ended from outside.
            RunNotFound: There is no such run.
            TimeoutError: It did not end in time.
        """
        machine = current()
        if machine is None:
            return cast("Coroutine[Any, Any, R]", self._engine.await_result(self.id, timeout))
        watching = others.watch(machine, self.id)
        return watching if timeout is None else asyncio.wait_for(watching, timeout)

    def cancel(self) -> Coroutine[object, None, bool]:
        """Ask the run to end: its body gets ``CancelledError``, and may clean up. True once the request is durable, False if it had ended.

        Raises:
            RunNotFound: There is no such run.
        """
        machine = current()
        if machine is not None:
            return others.cancel_other(machine, self.id)
        return self._engine.request_cancel(self.id)

    async def terminate(self, reason: str = "") -> bool:
        """End the run at once, without its body. False if it had ended.

        Raises:
            RunNotFound: There is no such run.
            ValueError: The reason is longer than 4,000 characters, or can't be stored.
        """
        _live("terminate()")
        return await self._engine.request_termination(self.id, reason)

    async def wake_up(self) -> bool:
        """Complete its pending ``sleep()``s, and try again if it is parked. False if it had ended."""
        _live("wake_up()")
        return await self._engine.request_wake_up(self.id)

    async def status(self) -> RunStatus:
        """Its status now."""
        return (await self.info()).status

    async def info(self) -> RunInfo:
        """What is known of it now.

        Raises:
            RunNotFound: There is no such run.
        """
        _live("info()")
        return await self._engine.info(self.id)

    async def events(self, link: int | None = None) -> list[RunEvent]:
        """Its log, of the newest link unless told."""
        _live("events()")
        return await self._engine.events(self.id, link)

    def stream(self, name: str = "default", start: int = 0) -> Readable:
        """What it has written and will write to a stream: ``async for value in run.stream("tokens")``, from any process.

        Args:
            name: Which one.
            start: Index of the first chunk; negative: so many values from the end.

        Raises:
            ValueError: A stream can't have this name.
        """
        check_name(name)
        return Readable(self.id, name, start, None if current() is not None else self._engine)

    async def stream_info(self, name: str = "default") -> StreamInfo | None:
        """What is known of a stream; None if nothing was written to it yet."""
        _live("stream_info()")
        return await self._engine.stream_info(self.id, name)

    async def list_streams(self) -> list[StreamInfo]:
        """The streams that were written to, by name."""
        _live("list_streams()")
        return await self._engine.list_streams(self.id)

    def __repr__(self) -> str:
        return f"<run {self.id}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Run) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)


class HookHandle(Generic[T]):
    """A hook seen from outside its run: what a step gets that was passed a hook."""

    __slots__ = ("token",)

    def __init__(self, token: str) -> None:
        self.token: str = token

    async def resume(self, payload: T) -> None:
        """Send it a payload; see :func:`resume_hook`."""
        await resume_hook(self.token, payload)

    def __repr__(self) -> str:
        return "<hook handle>"


def resume_hook(token: str, payload: object = None, *, idempotency_key: str = "") -> Coroutine[object, None, None]:
    """Send ``payload`` to the hook that holds ``token``. Once this returns it is durable, and will be delivered in order.

    Args:
        idempotency_key: A second delivery to the run under the same key is answered like the first and not repeated. Up to 255 characters.

    Raises:
        HookNotFound: No open hook has this token.
        ValueError: The key is too long, or can't be stored.
        PayloadInvalid: The payload does not fit the hook's type.
    """
    machine = current()
    if machine is not None:
        return others.send(machine, token, payload)
    return backend().deliver(token, payload, None, None, idempotency_key)


class HookDefinition(Generic[T]):
    """One definition of a hook for both sides; see :func:`define_hook`."""

    def __init__(self, type: type[T]) -> None:
        self.type = type

    def create(self, *, token: str | None = None, metadata: object = None) -> Hook[T]:
        """Open it in the executing workflow."""
        return create_hook(self.type, token=token, metadata=metadata)

    def resume(self, token: str, payload: T, *, idempotency_key: str = "") -> Coroutine[object, None, None]:
        """Send a payload, checked against the type first; see :func:`resume_hook`."""
        machine = current()
        if machine is not None:
            return others.send(machine, token, payload)
        return backend().deliver(token, payload, None, self.type, idempotency_key)


def define_hook(type: type[T]) -> HookDefinition[T]:
    """A hook whose payloads are of ``type``, for the workflow that receives and the code that sends."""
    return HookDefinition(type)
