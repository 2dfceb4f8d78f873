"""Who may do what: every route, every role; hosts, origins, sizes and shapes of requests (RELIABILITY, section 4)."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from outlive import ConfigurationError, Engine
from outlive.http import Role, create_app
from outlive.http.app import OutliveApp, check
from outlive.http.auth import PERMISSION, Caller, create_key

from . import flows
from .conftest import WEBHOOK, Front, fronted

BODIES: dict[str, object] = {
    "/api/v1/runs": {"workflow": "tests.http.flows:named", "run_id": "made-here"},
    "/api/v1/hooks/resume": {"token": "nobody-has-this"},
    "/api/v1/runs/{run_id}/terminate": {},
}


def routes(app: OutliveApp) -> Iterator[tuple[str, str, Role | None]]:
    """Each route of the app with each of its methods, and what it needs."""
    for route in app.routes:
        assert isinstance(route, Route)
        for method in sorted(route.methods or ()):
            yield method, route.path, getattr(route.endpoint, PERMISSION)


TABLE = list(routes(create_app(Engine(), on_token=lambda _token: None)))


def filled(path: str) -> str:
    return path.replace("{run_id}", "some-run").replace("{name}", "some-stream").replace("{token}", "A" * 43)


async def call(client: httpx2.AsyncClient, method: str, path: str, **headers: str) -> httpx2.Response:
    content = json.dumps(BODIES.get(path, {})) if method not in ("GET", "HEAD") else None
    kind = {"content-type": "application/json"} if content is not None else {}
    return await client.request(method, filled(path), content=content, headers=kind | headers)


def forged(front: Front) -> list[str]:
    """What is no key, though it looks like one."""
    good = front.keys["operator"]
    prefix, number, secret = good.split("_", 2)
    return [
        "olv_",
        f"{prefix}_{number}_",
        f"{prefix}_{number}_{secret[:-1]}",
        f"{prefix}_{number}_{secret}x",
        f"{prefix}_{number}_{secret[::-1]}",
        f"{prefix}_{number}_{'A' * len(secret)}",
        good.upper(),
        f"{good} {good}",
        f"{good},{front.keys['viewer']}",
        secret,
        number,
        "null",
        "' OR 1=1 --",
        "eyJhbGciOiJub25lIn0.eyJyb2xlIjoib3BlcmF0b3IifQ.",
        "A" * 512,
        "A" * 5_000,
    ]


# --- routes and roles ------------------------------------------------------------------------------------------------


def test_open_are_only_the_webhook_and_the_health_check() -> None:
    assert {path for _, path, role in TABLE if role is None} == {f"{WEBHOOK}{{token}}", "/healthz"}
    assert {role for method, path, role in TABLE if method == "POST" and path.startswith("/api")} == {Role.OPERATOR}
    assert len(TABLE) > 20


@pytest.mark.parametrize(("method", "path", "role"), TABLE, ids=[f"{method} {path}" for method, path, _ in TABLE])
async def test_s1_each_route_lets_in_whom_it_says(front: Front, method: str, path: str, role: Role | None) -> None:
    """Anonymous, forged, expired and revoked callers, a viewer and an operator."""
    _, expired = await create_key(front.engine, name="x", role=Role.OPERATOR, expires_at=time.time() - 1)
    revoked, taken_back = await create_key(front.engine, name="x", role=Role.OPERATOR)
    assert await front.engine.store.revoke_api_key(revoked.id)
    client = front.client()
    for token in (None, *forged(front)[:6], expired, taken_back):
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        answer = await call(client, method, path, **headers)
        assert (answer.status_code == 401) is (role is not None), (token, answer.status_code)
    for name, has in (("viewer", Role.VIEWER), ("operator", Role.OPERATOR)):
        answer = await call(front.client(name), method, path)
        expected = role is not None and has < role
        assert (answer.status_code == 403) is expected, (name, answer.status_code, answer.text)
        assert answer.status_code != 401
        assert answer.status_code < 500


async def test_what_is_no_key_opens_nothing(front: Front) -> None:
    client = front.client()
    for token in forged(front):
        answer = await client.get("/api/v1/runs", headers={"authorization": f"Bearer {token}"})
        assert answer.status_code == 401, token
        assert answer.headers["www-authenticate"] == "Bearer"
    good = front.keys["operator"]
    for wrong in (f"Basic {good}", f"Token {good}", good, f"Bearer\t{good}", f"Bearer: {good}"):
        assert (await client.get("/api/v1/runs", headers={"authorization": wrong})).status_code == 401, wrong
    twice = [("authorization", f"Bearer {good}"), ("authorization", f"Bearer {good}")]
    assert (await client.get("/api/v1/runs", headers=twice)).status_code == 401
    for query in (f"access_token={good}", f"token={good}", f"key={good}"):
        assert (await client.get(f"/api/v1/runs?{query}")).status_code == 401, "never in a URL"
    assert (await client.get("/api/v1/runs", headers={"cookie": f"session={good}"})).status_code == 401
    assert (await client.get("/api/v1/runs", headers={"authorization": f"bearer {good}"})).status_code == 200


async def test_what_is_there_is_nobodys_business(front: Front) -> None:
    for path in ("/", "/nothing", "/docs", "/redoc", "/api", "/.git/config", "/api/v1/steps", WEBHOOK):
        assert (await front.client().get(path)).status_code == 401, path
        assert (await front.client("viewer").get(path)).status_code == 404, path


async def test_a_route_that_declares_nothing_keeps_the_app_from_starting() -> None:
    async def forgotten(_request: Request) -> Response:
        return Response("open")

    with pytest.raises(ConfigurationError, match="/forgotten declares no permission"):
        create_app(Engine()).add_api_route("/forgotten", forgotten)
    app = create_app(Engine())
    for route in (Route("/forgotten", forgotten), Mount("/forgotten", Starlette())):
        app.router.routes.append(route)
        with pytest.raises(ConfigurationError, match=r"forgotten.*declare"):
            check(app)
        app.router.routes.pop()
    check(app)


async def test_a_way_of_ones_own_to_know_callers(make_engine: Callable[..., Engine]) -> None:
    class Mine:
        async def caller(self, bearer: str | None, scope: Any) -> Caller | None:
            return Caller("me", Role.VIEWER) if bearer == "mine" else None

    async with fronted(make_engine(), auth=Mine()) as front:
        client = front.client()
        mine = {"authorization": "Bearer mine"}
        assert (await client.get("/api/v1/runs", headers=mine)).status_code == 200
        assert (await call(client, "POST", "/api/v1/runs", **mine)).status_code == 403
        assert (await front.client("operator").get("/api/v1/runs")).status_code == 401, (
            "keys of the store are not asked"
        )


# --- the start-up token ----------------------------------------------------------------------------------------------


@pytest.fixture
async def unkeyed(
    make_engine: Callable[..., Engine], capfd: pytest.CaptureFixture[str]
) -> AsyncIterator[tuple[Front, str]]:
    """A front door without any key, and what it printed."""
    engine = make_engine()
    async with fronted(engine, keys=False, on_token=None) as front:
        yield front, capfd.readouterr().err


async def test_without_a_key_there_is_a_token_for_this_machine(unkeyed: tuple[Front, str]) -> None:
    front, printed = unkeyed
    assert printed.count("start-up token") == 1
    token = printed.split()[-1]
    assert len(token) == 43
    client = front.client()
    mine = {"authorization": f"Bearer {token}"}
    assert (await client.get("/api/v1/runs")).status_code == 401, "never open"
    assert (await call(client, "POST", "/api/v1/runs", **mine)).status_code == 201
    assert (await client.get("/api/v1/runs", headers={"authorization": f"Bearer {token[:-1]}"})).status_code == 401


async def test_the_token_is_good_by_the_names_of_this_machine_only(make_engine: Callable[..., Engine]) -> None:
    tokens: list[str] = []
    async with fronted(
        make_engine(base_url="https://example.com"), keys=False, on_token=tokens.append, allowed_hosts=["lan.example"]
    ) as front:
        mine = {"authorization": f"Bearer {tokens[0]}"}
        for host, status in (("localhost", 200), ("127.0.0.1:1", 200), ("example.com", 401), ("lan.example", 401)):
            answer = await front.client().get("/api/v1/runs", headers=mine | {"host": host})
            assert answer.status_code == status, host


async def test_with_a_key_there_is_no_token(make_engine: Callable[..., Engine]) -> None:
    tokens: list[str] = []
    async with make_engine() as engine:
        await create_key(engine, name="x", role=Role.VIEWER)
    async with fronted(make_engine(), keys=False, on_token=tokens.append):
        assert tokens == []


# --- where a request comes from, and what it is ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "served"),
    [
        ("localhost", True),
        ("LOCALHOST:80", True),
        ("127.0.0.1", True),
        ("[::1]:8000", True),
        ("example.com", True),
        ("other.example:8443", True),
        ("evil.com", False),
        ("localhost.evil.com", False),
        ("127.0.0.1.nip.io", False),
        ("example.com.evil.com", False),
        ("evil.com#localhost", False),
        ("localhost@evil.com", False),
        ("user@localhost", False),
        ("0.0.0.0", False),
        ("[::ffff:127.0.0.1]", False),
        ("127.1", False),
        ("localhost.", False),
        ("", False),
        ("[", False),
    ],
)
async def test_s10_only_its_own_names_are_served(make_engine: Callable[..., Engine], host: str, served: bool) -> None:
    engine = make_engine(base_url="https://example.com/x")
    async with fronted(engine, allowed_hosts=["Other.example"]) as front:
        for path in ("/healthz", WEBHOOK + "A" * 43, "/api/v1/runs"):
            answer = await front.client("viewer").get(path, headers={"host": host})
            assert (answer.status_code == 421) is not served, (path, answer.status_code)


@pytest.mark.parametrize(
    ("headers", "let_in"),
    [
        ({}, True),
        ({"origin": "http://localhost:3000"}, True),
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"origin": "https://evil.com"}, False),
        ({"origin": "null"}, False),
        ({"origin": "https://localhost.evil.com"}, False),
        ({"origin": "file://"}, False),
        ({"origin": "http://[::1"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "cross-site", "origin": "http://localhost"}, False),
    ],
)
async def test_s11_pages_of_other_sites_change_nothing(front: Front, headers: dict[str, str], let_in: bool) -> None:
    client = front.client("operator")
    answer = await call(client, "POST", "/api/v1/runs", **headers)
    assert answer.status_code == (201 if let_in else 403), answer.text
    assert "access-control-allow-origin" not in answer.headers
    hooked = await client.post(WEBHOOK + "A" * 43, headers=headers)
    assert hooked.status_code == 404, "a webhook is called from anywhere"


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "",
        "application/jsonx",
        "*/*",
    ],
)
async def test_s16_only_json_is_read(front: Front, kind: str) -> None:
    body = json.dumps(BODIES["/api/v1/runs"])
    answer = await front.client("operator").post("/api/v1/runs", content=body, headers={"content-type": kind})
    assert answer.status_code == 415


TRAVERSALS = [
    "..",
    "%2e%2e",
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e%2f%2e%2e%2fetc",
    "..%5c..%5cwindows",
    "%252e%252e%252f",
    "a%00b",
    "a%0d%0aset-cookie:x",
    "%c0%ae%c0%ae",
    "\u202e",
    "a" * 5_000,
    "'; DROP TABLE runs; --",
    "{{7*7}}",
    "${jndi:ldap://x}",
    "<script>",
    "~root",
    "con",
]


@pytest.mark.parametrize("name", TRAVERSALS)
async def test_s12_a_name_is_never_a_path(front: Front, name: str) -> None:
    client = front.client("operator")
    for path in (f"/api/v1/runs/{name}", f"/api/v1/runs/x/streams/{name}/events", WEBHOOK + name):
        answer = await client.get(path)
        assert answer.status_code in (404, 422, 431), (path, answer.status_code)
        assert "set-cookie" not in answer.headers
        assert "root:" not in answer.text
    started = await client.post("/api/v1/runs", json={"workflow": "tests.http.flows:named", "run_id": name})
    assert (started.status_code == 422) is (name != "con"), started.text
    assert (await front.client().get("/healthz")).status_code == 200


# --- sizes and shapes ------------------------------------------------------------------------------------------------


async def test_s15_a_body_has_an_end(front: Front) -> None:
    client = front.client("operator")
    kind = {"content-type": "application/json"}
    large = b'{"workflow": "' + b"x" * (4 * 1024 * 1024) + b'"}'

    async def pieces() -> AsyncIterator[bytes]:
        for place in range(0, len(large), 65_536):
            yield large[place : place + 65_536]

    assert (await client.post("/api/v1/runs", content=large, headers=kind)).status_code == 413
    assert (await client.post("/api/v1/runs", content=pieces(), headers=kind)).status_code == 413
    assert (await front.client().post("/api/v1/runs", content=large, headers=kind)).status_code == 401, "unread"
    assert (await client.get("/healthz")).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b"\xff\xfe",
        b'{"workflow": NaN}',
        b'{"workflow": "\\ud800"}',
        b'{"workflow": 1e999}',
        b'{"workflow": ' + b"9" * 5_000 + b"}",
        b'{"workflow": "a", "workflow": "b"}',
        b'{"workflow": "a\\u0000b"}',
        b'{"workflow": "tests.http.flows:named", "kwargs": {"\\ud800": 1}}',
        b'{"workflow": "tests.http.flows:named", "args": [' + b"1," * 300 + b"1]}",
        b'{"workflow": "tests.http.flows:order", "args": [' + b"[" * 50_000 + b"]" * 50_000 + b"]}",
        b"[" * 100_000,
        b'{"a":' * 50_000,
    ],
    ids=lambda body: body[:30].decode(errors="replace"),
)
async def test_what_is_no_request_is_refused(front: Front, body: bytes) -> None:
    kind = {"content-type": "application/json"}
    answer = await front.client("operator").post("/api/v1/runs", content=body, headers=kind)
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert await front.engine.list_runs() == []


async def test_headers_are_few_and_short(front: Front) -> None:
    client = front.client("viewer")
    assert (await client.get("/healthz", headers={f"x-{number}": "y" for number in range(120)})).status_code == 431
    answer = await client.get("/healthz", headers={"x-long": "y" * 20_000})
    assert answer.status_code in (400, 431)


async def test_every_answer_is_guarded(front: Front) -> None:
    for path in ("/healthz", "/api/v1/runs", "/nothing", WEBHOOK + "A" * 43):
        for client in (front.client(), front.client("operator")):
            answer = await client.get(path)
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert answer.headers["cache-control"] == "no-store"
            assert "server" not in answer.headers


async def test_there_is_no_websocket(front: Front) -> None:
    said: list[Any] = []

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        said.append(message)

    await front.app({"type": "websocket", "path": "/healthz", "headers": []}, receive, send)
    assert [message["type"] for message in said] == ["websocket.close"]


async def test_a_body_that_does_not_come_is_given_up(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outlive.http.limits.BODY_SECONDS", 0.05)
    run = await front.engine.start(flows.collect, 1)
    while not flows.urls:
        await asyncio.sleep(0.005)
    for path in ("/api/v1/runs", WEBHOOK + flows.urls[-1].rpartition("/")[2]):
        reader, writer = await asyncio.open_connection(*front.url.removeprefix("http://").split(":"))
        head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\ncontent-type: application/json\r\n"
        writer.write(f"{head}authorization: Bearer {front.keys['operator']}\r\n\r\nabc".encode())
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 408"), answer
        writer.close()
    await run.terminate()
