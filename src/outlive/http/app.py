"""The app: one table of routes, each of which declares what it needs, inside limits that hold for all of them."""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import anyio
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send
from typing_extensions import override

from outlive._core.webhooks import PATH
from outlive.engine import Engine
from outlive.errors import ConfigurationError, OutliveError
from outlive.http import api, problems, streams, webhooks
from outlive.http.auth import ApiKeys, Auth, Role, authorize, declared, needs, public
from outlive.http.limits import Limits

log: Final = logging.getLogger("outlive.http")

Endpoint = Callable[[Request], object]

NOT_STARTED: Final = (
    "the engine behind this app was not started: a mounted app has no lifespan of its own. "
    "Use outlive.http.install(app, engine), or open the engine in your app's lifespan"
)


@public
async def health(_request: Request) -> Response:
    """This process answers. It says nothing else."""
    return JSONResponse({"status": "ok"})


@needs(Role.VIEWER)
async def openapi(request: Request) -> Response:
    """The OpenAPI document of the REST API."""
    return JSONResponse(request.app.openapi())


ROUTES: Final[tuple[tuple[str, tuple[str, ...], Callable[[Request], object]], ...]] = (
    (f"{PATH}{{token}}", webhooks.METHODS, webhooks.webhook),
    ("/healthz", ("GET",), health),
    ("/openapi.json", ("GET",), openapi),
    ("/api/v1/runs/{run_id}/streams/{name}/events", ("GET",), streams.as_events),
    ("/api/v1/runs/{run_id}/streams/{name}/lines", ("GET",), streams.as_lines),
)
"""Beside those of ``api.py``."""


class OutliveApp(FastAPI):
    """The front door of one engine. ``auth`` and ``engine`` are in ``state``."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self.state.engine.closed:
            log.critical(NOT_STARTED)
            problem = problems.Problem(503, "this service was not started", headers={"retry-after": "30"})
            await problems.respond(problem)(scope, receive, send)
            return
        await super().__call__(scope, receive, send)

    @override
    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document; errors are problems, which FastAPI can't be told of a model."""
        if self.openapi_schema is None:
            document = super().openapi()
            for operations in document["paths"].values():
                for operation in operations.values():
                    for status, answer in operation["responses"].items():
                        if status >= "400":
                            answer["content"] = {problems.MEDIA_TYPE: answer["content"]["application/json"]}
            document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
            document["security"] = [{"key": []}]
        assert self.openapi_schema is not None, "it was made just now"
        return self.openapi_schema


def create_app(
    engine: Engine,
    *,
    auth: Auth | None = None,
    allowed_hosts: Collection[str] = (),
    on_token: Callable[[str], None] | None = None,
) -> OutliveApp:
    """An ASGI app for ``engine``, which it opens and closes if nobody else does. To mount it in another app see :func:`install`.

    Args:
        engine: Its ``base_url`` is where the world finds this app.
        auth: Who may call. Unset: the API keys in the store, made by ``outlive keys create``; while there is none, a start-up token
            that is good on this machine only.
        allowed_hosts: Names under which it is served, beside that of ``base_url`` and those of this machine.
        on_token: Called with the start-up token, if there is one. Unset: it is printed, once, to stderr.

    Raises:
        ConfigurationError: A route does not declare what it needs.
    """
    auth = ApiKeys(engine) if auth is None else auth
    hosts = {urlsplit(engine.base_url).hostname or "", *allowed_hosts}

    async def started() -> None:
        token = await auth.start() if isinstance(auth, ApiKeys) else None
        if token is not None:
            (on_token or _print_token)(token)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncGenerator[None]:
        if engine.closed:
            async with engine:
                await started()
                yield
                app.state.stopping.set()
        else:
            await started()
            yield
            app.state.stopping.set()

    app = OutliveApp(
        title="Outlive",
        version="1",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        separate_input_output_schemas=False,
    )
    app.state.engine = engine
    app.state.auth = auth
    app.state.started = started
    app.state.stopping = anyio.Event()
    routes = [_route(path, methods, endpoint) for path, methods, endpoint in ROUTES]
    app.router.routes.extend(routes)
    api.add_to(app)
    check(app)
    app.router.default = _unknown
    for kind in (problems.Problem, OutliveError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, problems.handle)
    # of the framework's layers a webhook needs none, and they would cost it as much as the commit
    app.add_middleware(Limits, hosts=hosts, webhooks=_directly(routes[0], app))
    return app


def _route(path: str, methods: tuple[str, ...], endpoint: Endpoint) -> Route:
    role = declared(endpoint, path)

    async def guarded(request: Request) -> Response:
        await authorize(request.app.state.auth, request, role)
        return await endpoint(request)  # type: ignore[misc,no-any-return]

    guarded.outlive_permission = role  # type: ignore[attr-defined]
    return Route(path, guarded, methods=list(methods), include_in_schema=False)


def _directly(route: Route, otherwise: FastAPI) -> ASGIApp:
    """``route`` without the layers of a framework; what it does not match goes the usual way."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        match, found = route.matches(scope)
        if match is Match.NONE:
            await otherwise.router(scope, receive, send)
        else:
            scope.update(found)
            await route.handle(scope, receive, send)

    return serve


def check(app: FastAPI) -> None:
    """Each route declares what it needs.

    Raises:
        ConfigurationError: One does not.
    """
    for route in app.routes:
        endpoint = getattr(route, "endpoint", None)
        if endpoint is None:
            raise ConfigurationError(f"{route} can't declare what it needs")
        declared(endpoint, getattr(route, "path", ""))


async def _unknown(scope: Scope, receive: Receive, _send: Send) -> None:
    """Whoever is not known here is not told either what there is."""
    request = Request(scope, receive)
    await authorize(request.app.state.auth, request, Role.VIEWER)
    raise problems.Problem(404, "there is nothing here")


def _print_token(token: str) -> None:
    sys.stderr.write(f"no API key was made yet; on this machine use the start-up token: {token}\n")
    sys.stderr.flush()
