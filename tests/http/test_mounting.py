"""The front door inside other apps: theirs go on as before, ours works, and an engine that nobody opened is no silent one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from outlive import ConfigurationError, Engine
from outlive.contrib.fastapi import EngineDep, lifespan, mount
from outlive.http import create_app, install, wrap
from outlive.http.serving import listen

from . import flows
from .conftest import WEBHOOK, until


@pytest.fixture(autouse=True)
def forget() -> None:
    flows.urls.clear()


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[httpx2.AsyncClient]:
    """By a uvicorn of somebody else's."""
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="auto", timeout_graceful_shutdown=5))
    serving = asyncio.create_task(server._serve([listener]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.005)
    if serving.done():
        await serving
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        async with httpx2.AsyncClient(base_url=url, trust_env=False, timeout=20) as client:
            yield client
    finally:
        server.should_exit = True
        await serving
        listener.close()


async def hello(_request: Request) -> JSONResponse:
    return JSONResponse({"hello": "theirs"})


def starlette(events: list[str]) -> Starlette:
    @asynccontextmanager
    async def life(_app: Starlette) -> AsyncIterator[dict[str, str]]:
        events.append("begun")
        yield {"state": "theirs"}
        events.append("ended")

    return Starlette(routes=[Route("/hello", hello)], lifespan=life)


async def django(scope: Scope, receive: Receive, send: Send) -> None:
    """As Django's ASGI app: it knows no lifespan."""
    if scope["type"] == "lifespan":
        raise ValueError("Django can only handle ASGI/HTTP connections, not lifespan.")
    await PlainTextResponse("theirs")(scope, receive, send)


async def works(client: httpx2.AsyncClient, engine: Engine, path: str) -> None:
    run = await engine.start(flows.echo)
    await until(lambda: flows.urls)
    url = flows.urls[-1]
    assert url.startswith(f"http://localhost:8000{path}{WEBHOOK}")
    token = url.rpartition("/")[2]
    assert (await client.post(f"{path}{WEBHOOK}{token}?a=1", content=b"hi")).status_code == 202
    assert (await run.result())["query"] == {"a": "1"}
    assert (await client.get(f"{path}/healthz")).json() == {"status": "ok"}
    assert (await client.get(f"{path}/api/v1/runs")).status_code == 401
    assert (await client.get(f"{path}/nothing")).status_code == 401


@pytest.mark.parametrize("path", ["/outlive", ""])
async def test_in_starlette_both_lifespans_are_lived(make_engine: Callable[..., Engine], path: str) -> None:
    events: list[str] = []
    app, engine = starlette(events), make_engine()
    install(app, engine, path=path)
    async with served(app) as client:
        assert events == ["begun"]
        assert not engine.closed
        assert (await client.get("/hello")).json() == {"hello": "theirs"}
        await works(client, engine, path)
    assert events == ["begun", "ended"]
    assert engine.closed


async def test_in_fastapi_in_two_lines(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine()
    app = FastAPI(lifespan=lifespan(engine))
    mount(app, engine)

    @app.post("/orders/{number}")
    async def order(number: int, engine: EngineDep) -> str:
        run = await engine.start(flows.order, flows.Order(number, ["tea"]))
        return await run.result()

    async with served(app) as client:
        assert (await client.post("/orders/7")).json() == "7: tea"
        await works(client, engine, "/outlive")
    assert engine.closed


async def test_fastapi_without_the_front_door(make_engine: Callable[..., Engine]) -> None:
    engine, events = make_engine(), []

    @asynccontextmanager
    async def mine(_app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        assert not engine.closed
        events.append("begun")
        yield {"mine": 1}
        assert not engine.closed
        events.append("ended")

    app = FastAPI(lifespan=lifespan(engine, mine))

    @app.get("/state")
    async def state(request: Request, engine: EngineDep) -> list[object]:
        return [request.state.mine, engine.closed]

    async with served(app) as client:
        assert (await client.get("/state")).json() == [1, False]
        assert (await client.get("/outlive/healthz")).status_code == 404
    assert events == ["begun", "ended"]
    assert engine.closed


async def test_an_app_without_an_engine_is_told(make_engine: Callable[..., Engine]) -> None:
    app = FastAPI()

    @app.get("/")
    async def endpoint(engine: EngineDep) -> str:
        return engine.base_url

    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        with pytest.raises(ConfigurationError, match="lifespan"):
            await client.get("/")


async def test_around_an_app_of_any_framework(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine()
    async with served(wrap(django, engine)) as client:
        assert (await client.get("/anything")).text == "theirs"
        assert (await client.get("/outlivers")).text == "theirs", "a path that only begins like ours is theirs"
        await works(client, engine, "/outlive")
    assert engine.closed


async def test_around_an_app_with_a_lifespan(make_engine: Callable[..., Engine]) -> None:
    events: list[str] = []
    engine = make_engine()
    async with served(wrap(starlette(events), engine, path="/flows/")) as client:
        assert events == ["begun"]
        assert (await client.get("/hello")).json() == {"hello": "theirs"}
        await works(client, engine, "/flows")
    assert events == ["begun", "ended"]
    assert engine.closed


async def test_an_app_that_fails_to_start_leaves_no_open_engine(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine()

    @asynccontextmanager
    async def fails(_app: Starlette) -> AsyncIterator[None]:
        raise RuntimeError("no database")
        yield

    wrapped = wrap(Starlette(lifespan=fails), engine)
    said: list[Any] = []

    async def receive() -> dict[str, str]:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        said.append(message)

    await wrapped({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)
    assert said[-1]["type"] == "lifespan.startup.failed"
    assert "no database" in said[-1]["message"]
    assert engine.closed


async def test_an_engine_that_nobody_opened_is_a_loud_error(
    make_engine: Callable[..., Engine], caplog: pytest.LogCaptureFixture
) -> None:
    app = Starlette(routes=[Mount("/outlive", create_app(make_engine()))])
    async with served(app) as client:
        answer = await client.get("/outlive/healthz")
        assert answer.status_code == 503
        assert "install(app, engine)" in caplog.text
        assert "install" not in answer.text


@pytest.mark.parametrize("place", [lambda engine: install(Starlette(), engine, path="/x"), lambda e: wrap(django, e)])
async def test_webhooks_are_called_where_they_are_served(
    make_engine: Callable[..., Engine], place: Callable[[Engine], object]
) -> None:
    with pytest.raises(ConfigurationError, match="give the engine its address"):
        place(make_engine(base_url="https://example.com/elsewhere"))


async def test_around_a_real_litestar_app(make_engine: Callable[..., Engine]) -> None:
    from litestar import Litestar, get

    events: list[str] = []

    @get("/hello")
    async def theirs() -> dict[str, str]:
        return {"hello": "theirs"}

    async def begins(_app: Litestar) -> None:
        events.append("begun")

    async def ends(_app: Litestar) -> None:
        events.append("ended")

    engine = make_engine()
    app = Litestar([theirs], on_startup=[begins], on_shutdown=[ends], openapi_config=None)
    async with served(wrap(app, engine)) as client:
        assert events == ["begun"]
        assert (await client.get("/hello")).json() == {"hello": "theirs"}
        await works(client, engine, "/outlive")
    assert events == ["begun", "ended"]
    assert engine.closed


async def test_around_a_real_django_app(make_engine: Callable[..., Engine]) -> None:
    import django
    from django.conf import settings
    from django.core.asgi import get_asgi_application
    from django.http import HttpRequest, JsonResponse
    from django.urls import path

    async def theirs(_request: HttpRequest) -> JsonResponse:
        return JsonResponse({"hello": "theirs"})

    if not settings.configured:
        settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="x", USE_TZ=True)
        django.setup()
    globals()["urlpatterns"] = [path("hello", theirs)]
    engine = make_engine()
    async with served(wrap(get_asgi_application(), engine)) as client:
        assert (await client.get("/hello")).json() == {"hello": "theirs"}
        await works(client, engine, "/outlive")
    assert engine.closed
