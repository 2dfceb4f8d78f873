"""A way to a server that cuts connections, resets them right after a COMMIT was sent, and falls silent."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from types import TracebackType
from typing import Self

RESET_AFTER_COMMIT = 0.02
"""Of all commits, while it misbehaves."""
SILENCE = 4.0


class Proxy:
    """Listens on ``port`` of loopback and passes on to the server's."""

    def __init__(self, server: int) -> None:
        self.port = 0
        self.cut = self.after_commit = self.silences = 0
        self._server = server
        self._listener: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self._chance = random.Random(5)
        self._bad = False
        self._open = asyncio.Event()
        self._open.set()

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._listener is not None
        self._listener.close()
        for link in list(self._links):
            link.reset()

    async def misbehave(self) -> None:
        """Until it is cancelled."""
        self._bad = True
        try:
            while True:
                await asyncio.sleep(self._chance.uniform(0.05, 0.3))
                if self._links and self._chance.random() < 0.7:
                    self.cut += 1
                    self._chance.choice(list(self._links)).reset()
                elif self._chance.random() < 0.1:
                    self.silences += 1
                    self._open.clear()  # packets are neither passed on nor refused
                    await asyncio.sleep(SILENCE)
                    self._open.set()
        finally:
            self._bad = False
            self._open.set()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await asyncio.open_connection("127.0.0.1", self._server)
        except OSError:
            writer.close()
            return
        link = _Link(writer, there[1])
        self._links.add(link)
        try:
            await asyncio.gather(self._pass(reader, there[1], link, watched=True), self._pass(there[0], writer, link))
        finally:
            self._links.discard(link)
            link.reset()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, link: _Link, *, watched: bool = False
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
                if watched and self._bad and b"COMMIT" in data and self._chance.random() < RESET_AFTER_COMMIT:
                    self.cut += 1
                    self.after_commit += 1
                    link.client_reset()
        link.reset()


class _Link:
    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self._client = client
        self._server = server

    def client_reset(self) -> None:
        """The client hears nothing more; the server has got what was sent."""
        _reset(self._client)
        self._server.close()

    def reset(self) -> None:
        _reset(self._client)
        _reset(self._server)


def _reset(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket | None = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
