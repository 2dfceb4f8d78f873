"""Outlive in a FastAPI app, in two lines::

    app = FastAPI(lifespan=lifespan(engine))
    mount(app, engine)

The first opens the engine for as long as the app lives, so that endpoints can start runs; the second serves webhooks, streams and the
REST API below ``/outlive``. Each works without the other. Needs the extra ``server``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Annotated, Any, TypeAlias

from fastapi import Depends, FastAPI, Request

from outlive.engine import Engine
from outlive.errors import ConfigurationError
from outlive.http import Auth, install
from outlive.http.app import OutliveApp

Lifespan: TypeAlias = Callable[[FastAPI], AbstractAsyncContextManager[Any]]


def lifespan(engine: Engine, then: Lifespan | None = None) -> Lifespan:
    """A lifespan that opens ``engine``; ``then`` is one of your own, which begins after that and ends before the engine closes."""

    @asynccontextmanager
    async def live(app: FastAPI) -> AsyncGenerator[Any]:
        app.state.outlive = engine
        if engine.closed:
            async with engine, _life(then, app) as state:
                yield state
        else:  # mount() has opened it
            async with _life(then, app) as state:
                yield state

    return live


def mount(
    app: FastAPI,
    engine: Engine,
    path: str = "/outlive",
    *,
    auth: Auth | None = None,
    allowed_hosts: Collection[str] = (),
) -> OutliveApp:
    """Serve ``engine`` below ``path``: :func:`outlive.http.install`.

    Raises:
        ConfigurationError: The engine's ``base_url`` does not end with the path, so that webhooks would be called elsewhere.
    """
    app.state.outlive = engine
    return install(app, engine, path=path, auth=auth, allowed_hosts=allowed_hosts)


def get_engine(request: Request) -> Engine:
    """The engine of the app that a request came to; a dependency of FastAPI."""
    engine: Engine | None = getattr(request.app.state, "outlive", None)
    if engine is None:
        raise ConfigurationError(
            "this app has no engine; use FastAPI(lifespan=lifespan(engine)), or mount(app, engine)"
        )
    return engine


EngineDep: TypeAlias = Annotated[Engine, Depends(get_engine)]
"""``async def order(engine: EngineDep)`` gets the engine."""


@asynccontextmanager
async def _life(lifespan: Lifespan | None, app: FastAPI) -> AsyncGenerator[Any]:
    if lifespan is None:
        yield None
    else:
        async with lifespan(app) as state:
            yield state
