"""Reading the streams of a run, from any process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextvars import ContextVar
from datetime import datetime
from typing import Any, Protocol

from msgspec import Struct

from outlive._core.context import current
from outlive.errors import ConfigurationError, NonDeterminismError
from outlive.model.ids import RunId


class StreamItem(Struct, frozen=True, kw_only=True):
    """A chunk of a stream, as a reader gets it."""

    index: int
    """Read on from ``index + 1``."""
    time: datetime
    value: Any


class StreamReset(Struct, frozen=True):
    """Given to a reader in place of a value: what it has read from index ``since`` on, of one step, is void; the step begins anew."""

    since: int


class StreamInfo(Struct, frozen=True, kw_only=True):
    """One stream of a run, at one moment."""

    name: str
    length: int
    """The index that the next chunk gets."""
    closed: bool
    first_at: datetime
    last_at: datetime


class StreamSource(Protocol):
    """What readers need of an engine."""

    def read_stream(self, run: RunId, name: str, start: int, reader: Readable) -> AsyncIterator[StreamItem]: ...


class Readable:
    """A stream of a run, to read: ``async for value in run.stream("tokens")``. Passes to steps as an argument.

    Values come as they were written, and a :class:`StreamReset` where what was read before is void. The loop ends when the stream is
    closed, or its run has ended and all is read. Reading goes on where a cut connection left it: ``run.stream(name, start=cursor)``.
    """

    __slots__ = ("_source", "cursor", "name", "reason", "run_id", "start")

    def __init__(self, run_id: str, name: str, start: int = 0, source: StreamSource | None = None) -> None:
        self._source = source
        self.run_id: RunId = RunId(run_id)
        self.name: str = name
        self.start: int = start
        """Index of the first chunk to read; negative: so many values from the end."""
        self.cursor: int = start
        """From where to read on."""
        self.reason: str = ""
        """Why the stream ended: ``closed``, or how its run did."""

    async def __aiter__(self) -> AsyncIterator[Any]:
        async for item in self.items():
            yield item.value

    async def items(self) -> AsyncIterator[StreamItem]:
        """The same with index and time."""
        if current() is not None:
            raise NonDeterminismError("reading a stream reads live state, which differs on replay; read it in a step")
        source = self._source if self._source is not None else stream_source.get(None)
        if source is None:
            raise ConfigurationError("no engine is open here; open one: async with Engine() as engine: ...")
        async for item in source.read_stream(self.run_id, self.name, self.start, self):
            self.cursor = item.index + 1
            yield item

    def __repr__(self) -> str:
        return f"<stream {self.name!r} of run {self.run_id}, from {self.start}>"


stream_source: ContextVar[StreamSource] = ContextVar("outlive_streams")
"""The engine that this code runs under."""
