"""Serving the app with uvicorn, within limits that an app can't set for itself."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import uvicorn
from typing_extensions import override
from uvicorn.protocols.http.h11_impl import H11Protocol

from outlive.errors import ConfigurationError
from outlive.http.auth import is_loopback
from outlive.http.limits import HEADER_BYTES

if TYPE_CHECKING:
    from outlive.http.app import OutliveApp

log: Final = logging.getLogger("outlive.http")

HEADER_SECONDS: Final = 10.0
GRACE: Final = 10
"""Seconds that requests get to end when the server stops."""
MOST_CONNECTIONS: Final = 4_000


class PatientProtocol(H11Protocol):
    """One connection. It does not wait for a request's head for ever."""

    _head_timer: asyncio.TimerHandle | None = None

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    @override
    def data_received(self, data: bytes) -> None:
        if self._between and self._head_timer is None:
            self._watch()
        super().data_received(data)
        if not self._between:
            self._forget()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    @property
    def _between(self) -> bool:
        """No request is being answered."""
        cycle: Any = self.cycle
        return cycle is None or cycle.response_complete

    def _watch(self) -> None:
        self._head_timer = self.loop.call_later(HEADER_SECONDS, self._give_up)

    def _forget(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        self._head_timer = None
        if self._between:
            self.transport.close()


class Server(uvicorn.Server):
    """uvicorn, told to stop by whoever owns the process's signals."""

    def __init__(self, app: OutliveApp, *, on_started: Callable[[], None]) -> None:
        config = uvicorn.Config(
            app,
            http=PatientProtocol,
            ws="none",
            lifespan="on",
            loop="none",
            proxy_headers=False,
            server_header=False,
            log_config=None,
            access_log=True,
            h11_max_incomplete_event_size=HEADER_BYTES,
            timeout_graceful_shutdown=GRACE,
            limit_concurrency=MOST_CONNECTIONS,
            backlog=2_048,
        )
        super().__init__(config)
        self._app = app
        self._on_started = on_started

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_started()

    def stop(self, number: signal.Signals) -> None:
        """End: streams are told to resume elsewhere, other requests get the grace. Told again: end at once."""
        if self.should_exit:
            os._exit(128 + number)
        self._app.state.stopping.set()
        self.handle_exit(number, None)


def listen(host: str, port: int) -> socket.socket:
    """A socket on that address; port 0: one that is free.

    Raises:
        ConfigurationError: The address can't be had.
    """
    if not 0 <= port <= 65_535:  # the resolver would take it modulo that
        raise ConfigurationError(f"{port} is no port: 0 to 65535")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise ConfigurationError(
            f"can't listen on {host}:{port}: {error.strerror}; choose another --host or --port"
        ) from error
    return listener


def address_of(listener: socket.socket) -> str:
    """The URL at which this machine reaches it."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


async def serve(app: OutliveApp, listener: socket.socket, *, on_started: Callable[[], None] = lambda: None) -> None:
    """Serve until SIGTERM or Ctrl-C; a second one ends at once.

    Raises:
        ConfigurationError: The address is reachable from elsewhere, and no API key was made.
    """
    host = listener.getsockname()[0]
    if not is_loopback(host) and not await _has_keys(app):
        raise ConfigurationError(
            f"{host} can be reached from other machines, and there is no API key; make one first: outlive keys create NAME"
        )
    server = Server(app, on_started=on_started)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop, number)
    await server._serve([listener])
    if not server.started:
        raise ConfigurationError("the server did not start; the reason stands above")


async def _has_keys(app: OutliveApp) -> bool:
    engine = app.state.engine
    if not engine.closed:
        return bool(await engine.store.api_keys())
    async with engine:
        return bool(await engine.store.api_keys())
