"""Follows a stream, whoever writes it: reads what is there, then waits for news (rule 7)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

from outlive.errors import RunNotFound
from outlive.model.ids import RunId
from outlive.model.streams import Chunk, decode_reset, streams_of
from outlive.stores.protocol import Store

if TYPE_CHECKING:
    from outlive._runtime.notices import Notices

FIRST_PAGE: Final = 16
LARGEST_PAGE: Final = 500
PAGE_BYTES: Final = 1_048_576
"""What is read at once, about, and so kept in memory for a slow reader."""


class StreamReading:
    """One reader of one stream. ``reason`` says, at the end, why there is no more."""

    def __init__(self, store: Store, notices: Notices, run: RunId, name: str, *, start: int) -> None:
        self.reason: str = ""
        self._store = store
        self._notices = notices
        self._run = run
        self._name = name
        self._next = start
        self._began = start
        self._limit = FIRST_PAGE
        self._delivered: dict[tuple[int, int], int] = {}
        """By writer, the last chunk that this reader was given."""

    async def chunks(self) -> AsyncIterator[Chunk]:
        """What stands, in order, each chunk once; and resets of what this reader was given, or whoever read before it.

        Raises:
            RunNotFound: There is no such run.
        """
        if self._next < 0:
            self._next = await self._store.stream_tail(self._run, self._name, -self._next)
        self._began = self._next
        while True:
            news = [self._notices.wait(streams_of(self._run)), self._notices.wait(self._run)]
            try:
                record = await self._store.run(self._run)  # before the chunks: an ended run writes no more
                if record is None:
                    raise RunNotFound(f"there is no run {self._run}")
                limit = self._limit
                page = await self._store.chunks(self._run, self._name, start=self._next, limit=limit)
                self._measure(page)
                for chunk in page:
                    self._next = chunk.index + 1
                    if chunk.kind == "close":
                        self.reason = "closed"
                        return
                    if self._concerns(chunk):
                        yield chunk
                if len(page) == limit:
                    continue
                if record.status.ended:
                    self.reason = str(record.status)
                    return
                await asyncio.wait(news, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for about, waiting in zip((streams_of(self._run), self._run), news, strict=True):
                    self._notices.leave(about, waiting)
                    waiting.cancel()

    def _measure(self, page: list[Chunk]) -> None:
        """How many to read next."""
        if page:
            average = sum(len(chunk.data) for chunk in page) // len(page) + 1
            self._limit = min(max(PAGE_BYTES // average, FIRST_PAGE), LARGEST_PAGE)

    def _concerns(self, chunk: Chunk) -> bool:
        """Whether to give ``chunk``: a reset only to whom it takes something back."""
        if chunk.kind != "reset":
            self._delivered[chunk.link, chunk.ref] = chunk.index
            return True
        reset = decode_reset(chunk.data)
        last = self._delivered.pop((reset.link, reset.ref), -1)
        return last >= reset.since or reset.since < self._began
