"""What every request must keep to, before anybody looks at what it wants: host, origin, sizes, time (S10, S11, S15)."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Final
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from outlive._core.webhooks import PATH
from outlive.http.auth import LOOPBACK_NAMES, hostname
from outlive.http.problems import Problem, of, respond
from outlive.views import TOKEN

MOST_HEADERS: Final = 100
HEADER_BYTES: Final = 16 * 1024
WEBHOOK_BYTES: Final = 1024 * 1024
API_BYTES: Final = 4 * 1024 * 1024
BODY_SECONDS: Final = 30.0
LINGER_BYTES: Final = 16 * 1024 * 1024
"""So much of a body that is too long is read and thrown away: a client that is cut off while it sends never reads the answer."""
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_SECURITY: Final = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


class TooLarge(Problem):
    """The body is longer than this route takes."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, f"the body is longer than {limit:,} bytes", headers={"connection": "close"})


class Limits:
    """ASGI middleware around the whole app."""

    def __init__(self, app: ASGIApp, *, hosts: Collection[str], webhooks: ASGIApp) -> None:
        """``webhooks`` serves what is below the webhook prefix; its errors are answered here."""
        self._app = app
        self._webhooks = webhooks
        self._hosts = frozenset(host.lower() for host in hosts) | LOOPBACK_NAMES

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # there is none here
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        webhook = _path_here(scope).startswith(PATH)
        try:
            headers = Headers(scope=scope)
            self._check_headers(scope, headers)
            if not webhook:
                self._check_origin(scope["method"], headers)
        except Problem as problem:
            await respond(problem)(scope, receive, _Secured(scope, send))
            return
        limit = WEBHOOK_BYTES if webhook else API_BYTES
        sending = _Secured(scope, send)
        try:
            await (self._webhooks if webhook else self._app)(scope, _Body(receive, limit), sending)
        except Exception as error:  # what nobody foresaw: an id for the client, the rest for the log
            told = of(error)
            if sending.begun:
                raise
            await respond(told)(scope, receive, sending)

    def _check_headers(self, scope: Scope, headers: Headers) -> None:
        raw = scope["headers"]
        if len(raw) > MOST_HEADERS or sum(len(name) + len(value) + 4 for name, value in raw) > HEADER_BYTES:
            raise Problem(431, f"at most {MOST_HEADERS} headers of {HEADER_BYTES:,} bytes")
        hosts = headers.getlist("host")
        if len(hosts) != 1 or hostname(hosts[0]) not in self._hosts:
            raise Problem(421, "this host is not served here; see base_url and allowed_hosts")
        if len(headers.getlist("content-length")) > 1 or (
            "content-length" in headers and "transfer-encoding" in headers
        ):
            raise Problem(400, "the length of the body is ambiguous", headers={"connection": "close"})

    def _check_origin(self, method: str, headers: Headers) -> None:
        """A page of another site can make a browser send requests, but not lie about where they come from."""
        if method in _SAFE:
            return
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        foreign = site is not None and site not in ("same-origin", "none")
        if origin is not None and _host_of(origin) not in self._hosts:
            foreign = True
        if foreign:
            raise Problem(403, "a request of another site")
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        empty = headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers
        if kind != "application/json" and not (empty and not kind):
            raise Problem(415, "send application/json")


def _host_of(origin: str) -> str:
    """Empty if it is no URL."""
    try:
        return urlsplit(origin).hostname or ""
    except ValueError:
        return ""


def _path_here(scope: Scope) -> str:
    """The path within this app, which may be mounted below another one."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path.removeprefix(root) if root and path.startswith(root) else path


def _hide(scope: Scope) -> None:
    """Keep what may be a token out of the scope; nobody needs the path any more."""
    before: str = scope["path"]
    place = before.find(PATH)
    if place >= 0:
        before, scope["query_string"] = f"{before[: place + len(PATH)]}hidden", b""
    hidden = TOKEN.sub("hidden", before)
    scope["path"], scope["raw_path"] = hidden, quote(hidden).encode()


class _Body:
    """Counts a body as it comes, whatever its headers say, and does not wait for it for ever."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._limit = limit
        self._size = 0
        self._done = False
        self._until: float | None = None

    async def __call__(self) -> Message:
        if self._done:
            return await self._receive()
        loop = asyncio.get_running_loop()
        if self._until is None:
            self._until = loop.time() + BODY_SECONDS
        try:
            async with asyncio.timeout_at(self._until):
                while True:
                    message = await self._receive()
                    self._size += len(message.get("body", b""))
                    self._done = not message.get("more_body", False)
                    if self._size <= self._limit:
                        return message
                    if self._done or self._size > self._limit + LINGER_BYTES:
                        raise TooLarge(self._limit)
        except TimeoutError:
            raise Problem(408, "the body did not come in time", headers={"connection": "close"}) from None


class _Secured:
    """Adds the headers that every answer has, and hides tokens from access logs, which are written as the answer begins."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self.begun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            _hide(self._scope)
            headers = MutableHeaders(scope=message)
            for name, value in _SECURITY.items():
                headers.setdefault(name, value)
        await self._send(message)
