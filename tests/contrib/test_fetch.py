"""``fetch``: a durable HTTP call, against servers that say what they like."""

from __future__ import annotations

import asyncio
import gzip
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import httpx2
import pytest

from outlive import Engine, FatalError, workflow
from outlive.contrib.http import LONGEST_WAIT, FetchBusy, FetchError, FetchRefused, FetchResponse, fetch
from outlive.testing.crash import kill

SECRET = "hunter2"


class Script:
    """A server that gives its answers one after the other, and keeps what it was sent."""

    def __init__(self) -> None:
        self.url = ""
        self.answers: list[bytes | None] = []
        self.requests: list[tuple[str, dict[str, str], bytes]] = []

    def says(self, *answers: int | bytes | None, headers: str = "", body: bytes = b"") -> None:
        """Statuses, or whole answers; None: hang up without a word."""
        for answer in answers:
            if isinstance(answer, int):
                length = f"content-length: {len(body)}\r\n"
                answer = f"HTTP/1.1 {answer} Whatever\r\n{headers}{length}connection: close\r\n\r\n".encode() + body
            self.answers.append(answer)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            line, *rest = head.strip().split("\r\n")
            headers = {name.lower(): value for name, _, value in (each.partition(": ") for each in rest)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            self.requests.append((line, headers, body))
            answer = self.answers.pop(0) if self.answers else b"HTTP/1.1 599 Unexpected\r\ncontent-length: 0\r\n\r\n"
            if answer == b"silence":
                await reader.read()
            elif answer is not None:
                writer.write(answer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def scripted() -> AsyncIterator[Script]:
    script = Script()
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    script.url = f"http://{host}:{port}"
    async with server:
        yield script


@pytest.fixture
async def server() -> AsyncIterator[Script]:
    async with scripted() as made:
        yield made


quickly = fetch.options(retry_delay=0.001)


@workflow
async def gets(url: str, retries: int = 5) -> FetchResponse:
    return await quickly.options(max_retries=retries)(url)


@workflow
async def posts(url: str) -> FetchResponse:
    return await quickly(url, method="post", json={"a": 1}, params={"q": SECRET}, headers={"x-api-key": SECRET})


@workflow
async def tells(url: str, raises: bool = True) -> tuple[str, int, bytes]:
    try:
        response = await quickly.options(max_retries=1)(url, timeout=0.3, max_bytes=100_000, raise_for_status=raises)
    except FetchError as error:
        return type(error).__name__, error.status, error.body
    return "returned", response.status, response.body


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with Engine(f"sqlite:///{tmp_path / 'outlive.db'}", shutdown_grace=0, durability="process") as made:
        yield made


async def test_an_answer_is_recorded_with_its_status_headers_and_body(engine: Engine, server: Script) -> None:
    server.says(201, headers="Content-Type: application/json\r\nX-Mine: yes\r\n", body=b'{"n": [1, 2]}')
    response = await (await engine.start(gets, server.url + "/a?b=1")).result()
    assert (response.status, response.ok, response.json()) == (201, True, {"n": [1, 2]})
    assert response.headers["x-mine"] == "yes"
    assert server.requests[0][0] == "GET /a?b=1 HTTP/1.1"
    assert "idempotency-key" not in server.requests[0][1], "a GET changes nothing"


@pytest.mark.parametrize(
    ("kind", "body", "text"),
    [
        ("text/plain; charset=latin-1", b"\xe9", "é"),
        ('text/plain; charset="utf-8"; x=y', "é".encode(), "é"),
        ("text/plain; charset=nonsense", "é".encode(), "é"),
        ("", b"\xff", "\ufffd"),
    ],
)
def test_text_is_read_in_its_charset(kind: str, body: bytes, text: str) -> None:
    assert FetchResponse(200, {"content-type": kind}, body).text() == text


async def test_what_changes_something_carries_one_key_through_all_attempts(engine: Engine, server: Script) -> None:
    server.says(500, None, 502, 200)
    run = await engine.start(posts, server.url)
    assert (await run.result()).status == 200
    assert [body for _, _, body in server.requests] == [b'{"a":1}'] * 4
    [key] = {headers["idempotency-key"] for _, headers, _ in server.requests}
    assert len(key) == 64
    assert {headers["content-type"] for _, headers, _ in server.requests} == {"application/json"}
    server.says(200)
    await (await engine.start(posts, server.url)).result()
    assert server.requests[-1][1]["idempotency-key"] != key, "another step has another"
    assert [event.kind for event in await run.events()].count("step_retrying") == 3


async def test_a_key_of_ones_own_stays(server: Script) -> None:
    server.says(200)
    await fetch(server.url, method="PUT", content="x", headers={"Idempotency-Key": "mine"})
    assert server.requests[0][1]["idempotency-key"] == "mine"


async def test_a_server_that_is_not_there_yet_is_tried_again(engine: Engine) -> None:
    async with scripted() as gone:
        url = gone.url
    run = await engine.start(gets, url)
    while "step_retrying" not in [event.kind for event in await run.events()]:
        await asyncio.sleep(0.002)
    script = Script()
    script.says(200, 200)
    server = await asyncio.start_server(script.serve, "127.0.0.1", int(url.rpartition(":")[2]))
    async with server:
        assert (await run.result()).status == 200


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
async def test_what_may_be_better_later_is_tried_again(engine: Engine, server: Script, status: int) -> None:
    server.says(status, status, 200)
    assert (await (await engine.start(gets, server.url)).result()).status == 200
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 422, 501, 505])
async def test_what_would_not_be_is_not(engine: Engine, server: Script, status: int) -> None:
    server.says(status, 200, body=b"because")
    assert await (await engine.start(tells, server.url)).result() == ("FetchRefused", status, b"because")
    assert len(server.requests) == 1


async def test_a_refusal_can_be_asked_for_as_a_response(engine: Engine, server: Script) -> None:
    server.says(404, body=b"nothing")
    assert await (await engine.start(tells, server.url, raises=False)).result() == ("returned", 404, b"nothing")
    server.says(500, 500)
    assert await (await engine.start(tells, server.url, raises=False)).result() == ("FetchError", 500, b"")


async def test_a_redirect_is_returned_and_not_followed(engine: Engine, server: Script) -> None:
    server.says(302, headers="location: http://127.0.0.1:1/elsewhere\r\n")
    response = await (await engine.start(gets, server.url)).result()
    assert (response.status, response.ok) == (302, False)
    assert len(server.requests) == 1


async def test_silence_and_a_broken_answer_are_errors_without_an_answer(engine: Engine, server: Script) -> None:
    server.says(b"silence", b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc")
    assert await (await engine.start(tells, server.url)).result() == ("FetchError", 0, b"")
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 200000\r\n\r\n" + b"x" * 200_000,
        b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + b"x" * 200_000,
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\nconnection: close\r\n\r\n" + gzip.compress(b"x" * 50_000_000),
    ],
    ids=["announced", "endless", "a bomb"],
)
async def test_an_answer_has_an_end(engine: Engine, server: Script, answer: bytes) -> None:
    server.says(answer)
    assert await (await engine.start(tells, server.url)).result() == ("FetchRefused", 200, b"")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("header", "low", "high"),
    [
        ("0", 0, 0),
        ("7", 7, 7),
        ("999999", LONGEST_WAIT, LONGEST_WAIT),
        (format_datetime(datetime.now(UTC) + timedelta(seconds=500), usegmt=True), 1, 500),
        (format_datetime(datetime.now(UTC) + timedelta(days=9), usegmt=True), LONGEST_WAIT, LONGEST_WAIT),
        (format_datetime(datetime.now(UTC) - timedelta(days=9), usegmt=True), 0, 0),
    ],
    ids=["now", "soon", "too late", "a moment", "a moment too late", "a moment that has passed"],
)
@pytest.mark.parametrize("status", [429, 503])
async def test_the_server_says_when_to_come_again(
    server: Script, status: int, header: str, low: float, high: float
) -> None:
    server.says(status, headers=f"retry-after: {header}\r\n")
    with pytest.raises(FetchBusy) as caught:
        await fetch(server.url)
    assert isinstance(caught.value.retry_after, float)
    assert low <= caught.value.retry_after <= high


@pytest.mark.parametrize("header", ["soon", "-1", "1.5", "", "9" * 400])
async def test_what_can_not_be_read_leaves_the_usual_delay(server: Script, header: str) -> None:
    server.says(503, headers=f"retry-after: {header}\r\n")
    with pytest.raises(FetchError) as caught:
        await fetch(server.url)
    after = getattr(caught.value, "retry_after", None)
    assert after is None or after == LONGEST_WAIT


async def test_the_time_that_the_server_said_is_kept_in_the_log(engine: Engine, server: Script) -> None:
    server.says(503, 200, headers="retry-after: 0\r\n")
    run = await engine.start(gets.options(run_id="busy"), server.url)
    assert (await run.result()).status == 200
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "url",
    ["ftp://x/y", "file:///etc/passwd", "//x", "x", "", "http://", "http://[::1", "http://x:99999999/", "javascript:1"],
)
async def test_what_is_no_url_is_refused_at_once(url: str) -> None:
    with pytest.raises((FetchRefused, FetchError)) as caught:
        await fetch(url)
    assert isinstance(caught.value, FatalError)


async def test_no_secret_is_told(engine: Engine, server: Script, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server.says(400, 200, body=b"no")
    host = server.url.removeprefix("http://")
    run = await engine.start(posts, f"http://user:{SECRET}@{host}/path?token={SECRET}")
    with pytest.raises(Exception, match=r"POST http://127.0.0.1:[0-9]+/path: 400") as caught:
        await run.result()
    assert SECRET not in str(caught.value) and SECRET not in str(caught.value.__cause__)
    failed = [event for event in await run.events() if event.kind == "step_failed"]
    assert SECRET not in str(failed[0].data["error"])
    assert SECRET not in caplog.text

    async with httpx2.AsyncClient() as client:
        await client.post(f"{server.url}/by-the-user", content=b"x")
    assert "/by-the-user" in caplog.text, "what the user's own calls log is theirs to decide"


async def test_a_call_that_was_answered_is_not_made_again(tmp_path: Path, server: Script) -> None:
    def make() -> Engine:
        return Engine(f"sqlite:///{tmp_path / 'killed.db'}", shutdown_grace=0)

    server.says(200, b"silence", body=b"first")
    first = make()
    await first.open()
    run = await first.start(twice.options(run_id="r"), server.url)
    while len(server.requests) < 2:
        await asyncio.sleep(0.002)
    await kill(first)
    server.says(200, body=b"second")
    async with make() as second:
        assert await second.get_run(run.id).result() == [b"first", b"second"]
    assert len(server.requests) == 3
    keys = [headers["idempotency-key"] for _, headers, _ in server.requests]
    assert keys[1] == keys[2] != keys[0], "the call that was cut off is made again under its key"


@workflow
async def twice(url: str) -> list[bytes]:
    return [(await quickly(url, method="POST", content=b"x")).body for _ in range(2)]


async def test_json_and_content_are_one_too_many(server: Script) -> None:
    with pytest.raises(FetchRefused, match="not both"):
        await fetch(server.url, json=1, content=b"x")
    assert server.requests == []
