"""What the steps of a hot run write to its streams, until it is durable: it leaves with the run's commits, fenced like its events."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

from outlive.errors import UsageError
from outlive.model.streams import Piece, StreamWrite, Voided, Written

MOST_BYTES: Final = 1_048_576
MOST_PIECES: Final = 5_000
"""What may wait to become durable; whoever writes more is held back."""


class Writer(Protocol):
    """A run, or a step in a queue."""

    def touch(self) -> None:
        """There is something to commit."""
        ...


class Streams:
    """The stream writes of one hot run, or of one step in a queue, in order."""

    __slots__ = ("_bytes", "_hot", "_in_flight", "_pieces", "_stood", "_waiting", "_writes", "wrote")

    def __init__(self, hot: Writer) -> None:
        self._hot = hot
        self._writes: list[tuple[str, int, list[Piece]] | Voided] = []
        self._in_flight = False
        self._bytes = 0
        self._pieces = 0
        self._waiting: list[asyncio.Future[None]] = []
        """Who waits for what is pending now."""
        self._stood: list[asyncio.Future[None]] = []
        """Who waits for what is in flight."""
        self.wrote: set[int] = set()
        """Refs of steps that have written in this life of the run."""

    @property
    def pending(self) -> bool:
        return bool(self._writes) or self._in_flight

    async def write(self, ref: int, stream: str, piece: Piece) -> None:
        """Take ``piece`` in; waits for room first."""
        while self._bytes >= MOST_BYTES or self._pieces >= MOST_PIECES:
            await self._next_commit()
        last = self._writes[-1] if self._writes else None
        if isinstance(last, tuple) and last[0] == stream and last[1] == ref:
            last[2].append(piece)
        else:
            self._writes.append((stream, ref, [piece]))
        self._bytes += len(piece[1])
        self._pieces += 1
        self.wrote.add(ref)
        self._hot.touch()

    def void(self, ref: int) -> None:
        """What earlier attempts of ``ref`` wrote does not stand."""
        self.wrote.discard(ref)
        self._writes = [write for write in self._writes if not (isinstance(write, tuple) and write[1] == ref)]
        self._writes.append(Voided(ref))

    async def flush(self) -> None:
        """Wait until what was written so far is durable."""
        if self._writes:
            await self._next_commit()
        elif self._in_flight:
            await self._wait(self._stood)

    async def _next_commit(self) -> None:
        await self._wait(self._waiting)

    async def _wait(self, where: list[asyncio.Future[None]]) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        where.append(done)
        await done

    # --- with the run's commits --------------------------------------------------------------------------------------

    def take(self) -> tuple[StreamWrite, ...]:
        """For the commit that leaves now."""
        writes = tuple(
            write if isinstance(write, Voided) else Written(write[0], write[1], tuple(write[2]))
            for write in self._writes
        )
        self._writes, self._bytes, self._pieces = [], 0, 0
        self._in_flight = bool(writes)
        self._stood += self._waiting
        self._waiting = []
        return writes

    def put_back(self, writes: Sequence[StreamWrite]) -> None:
        """The commit did not happen."""
        again: list[tuple[str, int, list[Piece]] | Voided] = [
            write if isinstance(write, Voided) else (write.stream, write.ref, list(write.pieces)) for write in writes
        ]
        self._writes[:0] = again
        self._in_flight = False
        for write in again:
            if isinstance(write, tuple):
                self._bytes += sum(len(data) for _, data in write[2])
                self._pieces += len(write[2])
        self._waiting[:0] = self._stood
        self._stood = []

    def stand(self) -> None:
        """What was in flight is durable."""
        self._in_flight = False
        stood, self._stood = self._stood, []
        for done in stood:
            if not done.done():
                done.set_result(None)

    def forget(self) -> None:
        """The run leaves memory: what is not durable was written for nobody."""
        self._writes, self._bytes, self._pieces, self._in_flight = [], 0, 0, False
        for done in (*self._waiting, *self._stood):
            if not done.done():
                done.set_exception(UsageError(OVER))
                done.exception()  # its attempt may have ended
        self._waiting, self._stood = [], []


OVER: Final = "this attempt is no longer the one that counts: its run has gone on without it; nothing it writes is kept"
