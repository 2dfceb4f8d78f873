"""Writing to the streams of a run, from steps and from the body."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import Final, Protocol

from outlive._codec import Codec, digest
from outlive._core.context import current, step_metadata
from outlive._core.machine import Machine
from outlive._core.waiting import Durable
from outlive.errors import SerializationError, UsageError
from outlive.model import commands as cmd
from outlive.model.ids import PLAIN_NAME, RunId
from outlive.model.streams import LARGEST, Piece
from outlive.model.webhooks import Answer

PROGRESS: Final = "progress"
"""The stream that :func:`progress` writes to."""
PROGRESS_EVERY: Final = 0.1


class Sink(Protocol):
    """Where an attempt of a step writes."""

    run: RunId

    @property
    def codec(self) -> Codec: ...
    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...
    async def write(self, stream: str, piece: Piece) -> None: ...
    async def flush(self) -> None: ...
    async def respond(self, request: str, answer: Answer) -> bool: ...
    def progress_due(self) -> bool: ...


step_sink: ContextVar[Sink] = ContextVar("outlive_sink")


def check_name(name: str) -> str:
    """``name``, if a stream can have it.

    Raises:
        ValueError: It can't.
    """
    if not PLAIN_NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} can't name a stream: up to 128 letters, digits and _ . : -, not beginning with a dot"
        )
    return name


class Writable:
    """A stream of a run, to write to. What is written is visible to readers at once, and durable with the step's result at the latest.

    If the attempt that writes fails and another follows, readers are told that what it wrote is void.
    """

    __slots__ = ("name", "run_id")

    def __init__(self, run_id: str, name: str) -> None:
        self.run_id: str = run_id
        """Empty outside a run, where nothing is written."""
        self.name: str = name

    def write(self, value: object) -> Coroutine[object, None, None]:
        """Append a value, or bytes as they are. Waits while too much is not yet durable.

        Raises:
            SerializationError: The value can't be carried, or is longer than 1 MiB.
            UsageError: The stream was closed, belongs to another run, or the attempt is no longer the one that counts.
        """
        machine = current()
        if machine is not None:
            return self._in_body(machine, _piece(value, machine.codec))
        return self._in_step(value)

    def close(self) -> Coroutine[object, None, None]:
        """End the stream: readers come to its end. What others write afterwards is not read."""
        machine = current()
        if machine is not None:
            return self._in_body(machine, ("close", b""))
        return self._put(("close", b""))

    async def flush(self) -> None:
        """Wait until all that this step has written is durable."""
        sink = self._sink()
        if sink is not None:
            await sink.flush()

    def put(self, value: object) -> None:
        """:meth:`write` for a blocking step, from its thread."""
        sink = self._sink()
        if sink is not None:
            writing = sink.write(self.name, _piece(value, sink.codec))
            asyncio.run_coroutine_threadsafe(writing, sink.loop).result()

    async def _in_step(self, value: object) -> None:
        sink = self._sink()
        if sink is not None:
            await sink.write(self.name, _piece(value, sink.codec))

    async def _put(self, piece: Piece) -> None:
        sink = self._sink()
        if sink is not None:
            await sink.write(self.name, piece)

    def _sink(self) -> Sink | None:
        sink = step_sink.get(None)
        if sink is None:
            if self.run_id:
                raise UsageError("a stream is written by the workflow or a step of its run; read it with run.stream()")
            return None  # a step called by itself, as in a test
        if sink.run != self.run_id:
            raise UsageError(f"the stream {self.name!r} belongs to run {self.run_id}; only its own steps write to it")
        return sink

    def _in_body(self, machine: Machine, piece: Piece) -> Durable[None]:
        if machine.run != self.run_id:
            raise UsageError(f"the stream {self.name!r} belongs to run {self.run_id}; only its own steps write to it")

        async def write() -> None:
            mark = f"{self.name}:{digest(piece[1]) if piece[0] == 'value' else piece[1].hex()[:64]}"
            ref = machine.issue("call", "write", mark)
            command = cmd.WriteChunk(ref, mark, self.name, piece)
            await machine.call(command, machine.loop.create_future(), ref)

        return Durable(write())

    def __repr__(self) -> str:
        return f"<stream {self.name!r} of run {self.run_id}>"


def _piece(value: object, codec: Codec) -> Piece:
    piece: Piece = ("bytes", value) if type(value) is bytes else ("value", bytes(codec.encode(value, what="chunk")))
    if len(piece[1]) > LARGEST:
        raise SerializationError(
            f"a chunk of a stream has at most {LARGEST:,} bytes, and this one {len(piece[1]):,}; write it in several"
        )
    return piece


def get_writable(name: str = "default") -> Writable:
    """The executing run's stream of that name, to write to or to pass to steps.

    Raises:
        ValueError: A stream can't have this name.
    """
    check_name(name)
    machine = current()
    if machine is not None:
        return Writable(machine.run, name)
    sink = step_sink.get(None)
    return Writable("" if sink is None else sink.run, name)


async def progress(done: float, total: float | None = None, note: str = "") -> None:
    """Say how far this step is, on the run's stream ``progress``: at most ten times a second, and always the end.

    ``outlive tail`` shows it as a bar.
    """
    sink = step_sink.get(None)
    if sink is None:
        return
    if sink.progress_due() or (total is not None and done >= total):
        about = step_metadata.get()()
        value = {"step": about.name, "done": done, "total": total, "note": note}
        await sink.write(PROGRESS, _piece(value, sink.codec))
