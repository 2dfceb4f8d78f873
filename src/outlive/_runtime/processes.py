"""Steps in processes of their own: for work that keeps a CPU busy, or that may take its process down with it.

A process runs one attempt at a time, and lives on for the next. Arguments and results pass through the codec, as everywhere; what the
child imports is the module of the step as this process knows it, never a name that came from the database. A process that dies costs the
attempt that it ran, and nobody else.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from outlive._core.authoring import Step
from outlive._core.context import StepMetadata
from outlive._runtime.transactions import Recorded
from outlive.errors import StepError

importing: bool = False
"""This process runs steps for a worker, and imports the module that defines one."""

LENGTH: Final = struct.Struct(">Q")
READY: Final = b"+"


class Call(Struct, frozen=True):
    """One attempt, as the child is told of it."""

    module: str
    file: str
    path: list[str]
    """``sys.path`` of the worker."""
    step: str
    input: Raw
    step_id: str
    run_id: str
    attempt: int
    started_at: float


class Answer(Struct, frozen=True, omit_defaults=True):
    """How it ended."""

    value: Raw
    """What it gave, or raised."""
    raised: bool = False
    fatal: bool = False
    retry_after: float | None = None


_encoder: Final = msgspec.json.Encoder()
_answers: Final = msgspec.json.Decoder(Answer)


class AnsweredError(Exception):
    """What the step has raised, encoded where it was raised."""

    def __init__(self, answer: Answer) -> None:
        super().__init__("the step raised in its process")
        self.answer = answer


class ProcessPool:
    """Processes that are free; more are started when they are needed. How many there are is up to who calls."""

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._free: list[_Child] = []
        self._closed = False

    async def run(
        self, step: Step[..., Any], input: Raw, about: StepMetadata, before: Callable[[], Awaitable[None]]
    ) -> Recorded:
        """What ``step`` gives, encoded. ``before`` is awaited when there is a process that takes it.

        Raises:
            AnsweredError: It raised.
            StepError: Its process died.
        """
        module = sys.modules.get(step.fn.__module__)
        call = Call(
            module=step.name.partition(":")[0] if step.fn.__module__ == "__main__" else step.fn.__module__,
            file=os.path.abspath(getattr(module, "__file__", "") or ""),
            path=[entry or os.getcwd() for entry in sys.path],
            step=step.name,
            input=input,
            step_id=about.step_id,
            run_id=about.run_id,
            attempt=about.attempt,
            started_at=about.started_at.timestamp(),
        )
        child = self._child()
        try:
            await child.listens()
            await before()
            answer = await child.ask(_encoder.encode(call))
        except asyncio.CancelledError:
            await child.stop(self._grace)
            raise
        except OSError as error:  # the end of the stream too
            code = await child.stop(0.0)
            raise StepError(f"the process that ran {step.name} died ({_said(code)})") from error
        if self._closed:
            await child.stop(0.0)
        else:
            self._free.append(child)
        decoded = _answers.decode(answer)
        if decoded.raised:
            raise AnsweredError(decoded)
        return Recorded(decoded.value)

    def _child(self) -> _Child:
        """One that waits, or a new one. Who was killed while it waited costs no step an attempt."""
        while self._free:
            child = self._free.pop()
            if child.lives:
                return child
            child.kill()
        return _Child()

    def close(self) -> None:
        self._closed = True
        for child in self._free:
            child.kill()
        self._free.clear()


class _Child:
    """A process, and the socket over which it is asked. It ends itself when that is closed: no step outlives its worker."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            # a group of its own: Ctrl-C is for the worker, which gives its steps time to end
            self._process = subprocess.Popen(  # noqa: S603  # this very Python, and a module of ours
                [sys.executable, "-m", "outlive._runtime.process_main", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._socket.setblocking(False)
        self._listens = False
        """It has come up, and takes Ctrl-C for what it is."""

    async def listens(self) -> None:
        if not self._listens:
            await self._read(len(READY))
            self._listens = True

    async def ask(self, question: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self._socket, LENGTH.pack(len(question)) + question)
        (length,) = LENGTH.unpack(await self._read(LENGTH.size))
        return await self._read(length)

    async def _read(self, count: int) -> bytes:
        loop = asyncio.get_running_loop()
        parts: list[bytes] = []
        while count > 0:
            part = await loop.sock_recv(self._socket, min(count, 1 << 20))
            if not part:
                raise ConnectionResetError("the process has gone")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    @property
    def lives(self) -> bool:
        return self._process.poll() is None

    async def stop(self, grace: float) -> int:
        """Ask it to end, as Ctrl-C would, and end it after ``grace`` seconds; its exit code."""
        if grace > 0 and self._listens and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            await asyncio.to_thread(self._wait, grace)
        self._socket.close()
        await asyncio.to_thread(self.kill)
        return self._process.returncode

    def _wait(self, grace: float) -> None:
        try:
            self._process.wait(grace)
        except subprocess.TimeoutExpired:
            pass

    def kill(self) -> None:
        self._socket.close()
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def _said(code: int) -> str:
    if code < 0:
        return f"signal {signal.Signals(-code).name}" if -code in set(signal.Signals) else f"signal {-code}"
    return f"exit code {code}"
