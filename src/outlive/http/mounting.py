"""The front door inside another app. A mounted app's own lifespan never runs, so the outer one's must open the engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from outlive.engine import DEFAULT_BASE_URL, Engine
from outlive.errors import ConfigurationError
from outlive.http.app import OutliveApp, create_app
from outlive.http.auth import Auth


def install(
    app: Starlette,
    engine: Engine,
    *,
    path: str = "",
    auth: Auth | None = None,
    allowed_hosts: Collection[str] = (),
) -> OutliveApp:
    """Serve ``engine`` below ``path`` of a FastAPI or Starlette app, and open it for as long as that lives.

    Call it after the app's own routes were added: with an empty path it answers whatever those do not. The engine's ``base_url`` ends
    with the path; one that was not set gets it.

    Raises:
        ConfigurationError: The ``base_url`` leads elsewhere.
    """
    path = place(engine, path)
    inner = create_app(engine, auth=auth, allowed_hosts=allowed_hosts)
    outer = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(parent: Any) -> AsyncGenerator[Any]:
        async with inner.router.lifespan_context(inner), outer(parent) as state:
            yield state

    app.router.lifespan_context = lifespan
    app.mount(path, inner, name="outlive")
    return inner


def wrap(
    app: ASGIApp,
    engine: Engine,
    *,
    path: str = "/outlive",
    auth: Auth | None = None,
    allowed_hosts: Collection[str] = (),
) -> ASGIApp:
    """``app``, of any framework (Litestar, Django), with ``engine`` served below ``path``. Give this to the ASGI server instead.

    Raises:
        ConfigurationError: The engine's ``base_url`` leads elsewhere.
    """
    path = place(engine, path)
    return _Wrapped(app, create_app(engine, auth=auth, allowed_hosts=allowed_hosts), path)


def place(engine: Engine, path: str) -> str:
    """See to it that webhooks are called where they are served; the path, without a slash at its end.

    Raises:
        ConfigurationError: They would not be.
    """
    path = path.rstrip("/")
    if engine.base_url == DEFAULT_BASE_URL:
        engine.base_url += path
    elif not engine.base_url.endswith(path):
        raise ConfigurationError(
            f"webhooks would be called at {engine.base_url}, and are served below {path}; "
            f"give the engine its address with the path, as in Engine(base_url='https://example.com{path}')"
        )
    return path


class _Wrapped:
    def __init__(self, app: ASGIApp, inner: OutliveApp, path: str) -> None:
        self._app = app
        self._inner = inner
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        elif scope["type"] == "http" and (scope["path"] == self._path or scope["path"].startswith(f"{self._path}/")):
            root = f"{scope.get('root_path', '')}{self._path}"
            scope["root_path"] = scope["app_root_path"] = (
                root  # in place: what is hidden there is hidden from access logs
            )
            await self._inner(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ours begins before theirs and ends after; an app that knows no lifespan has none."""
        await receive()
        context = self._inner.router.lifespan_context(self._inner)
        try:
            await context.__aenter__()
        except BaseException as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            raise
        theirs = _TheirLife(self._app, scope)
        failed = await theirs.begin()
        if failed is not None:
            await context.__aexit__(None, None, None)
            await send({"type": "lifespan.startup.failed", "message": failed})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await theirs.end()
        await context.__aexit__(None, None, None)
        await send({"type": "lifespan.shutdown.complete"})


class _TheirLife:
    """The lifespan of the outer app, step by step."""

    def __init__(self, app: ASGIApp, scope: Scope) -> None:
        self._to: asyncio.Queue[Message] = asyncio.Queue()
        self._from: asyncio.Queue[Message] = asyncio.Queue()
        self._app = app
        self._scope = scope
        self._task: asyncio.Task[None] | None = None

    async def begin(self) -> str | None:
        """Why it failed, if it did."""
        self._task = asyncio.ensure_future(self._run())
        await self._to.put({"type": "lifespan.startup"})
        answer = await self._answer()
        if answer is not None and answer["type"] == "lifespan.startup.failed":
            return str(answer.get("message", "")) or "the app failed to start"
        return None

    async def end(self) -> None:
        if self._task is not None and not self._task.done():
            await self._to.put({"type": "lifespan.shutdown"})
            await self._answer()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        await self._app(self._scope, self._to.get, self._from.put)

    async def _answer(self) -> Message | None:
        """What it says, or None: it has ended, as apps do that know no lifespan."""
        assert self._task is not None, "its life has begun"
        getting = asyncio.ensure_future(self._from.get())
        await asyncio.wait([getting, self._task], return_when=asyncio.FIRST_COMPLETED)
        if getting.done():
            return getting.result()
        getting.cancel()
        if not self._task.cancelled():
            self._task.exception()
        return None
