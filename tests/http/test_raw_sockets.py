"""Bytes that no client library sends: the server says no, or hangs up; it never hangs, and never reads a request that was smuggled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from outlive import Engine

from . import flows
from .conftest import WEBHOOK, Front, fronted, until

PATIENCE = 30.0
"""Seconds after which a server that neither answers nor hangs up is taken for hung."""


@pytest.fixture(autouse=True)
def forget() -> None:
    flows.urls.clear()


async def exchange(front: Front, *pieces: bytes, half_close: bool = True) -> bytes:
    """Send ``pieces`` as they are; all that comes back."""
    host, port = front.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        if half_close:
            writer.write_eof()
        return await asyncio.wait_for(reader.read(), PATIENCE)
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def healthy(front: Front) -> None:
    assert (await front.client().get("/healthz")).status_code == 200


def statuses(answer: bytes) -> list[int]:
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]


HOST = b"host: localhost\r\n"
CLOSE = b"connection: close\r\n"
BROKEN = {
    "nothing": b"",
    "a blank line": b"\r\n\r\n",
    "noise": bytes(range(256)),
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 64,
    "http2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "http09": b"GET /healthz\r\n",
    "a space before the colon": b"GET /healthz HTTP/1.1\r\nhost : localhost\r\n\r\n",
    "nul in a header": b"GET /healthz HTTP/1.1\r\n" + HOST + b"x: a\x00b\r\n\r\n",
    "a bare cr": b"GET /healthz HTTP/1.1\r\nhost: local\rhost\r\n\r\n",
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /healthz HTTP/1.1\r\n" + HOST + HOST + b"\r\n",
    "a space in the target": b"GET /heal thz HTTP/1.1\r\n" + HOST + b"\r\n",
    "a long target": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "a long method": b"G" * 100_000 + b" / HTTP/1.1\r\n" + HOST + b"\r\n",
    "a header without end": b"GET /healthz HTTP/1.1\r\n" + HOST + b"x: " + b"y" * 100_000,
    "many headers": b"GET /healthz HTTP/1.1\r\n" + HOST + b"x: y\r\n" * 5_000 + b"\r\n",
    "a negative length": b"POST /x HTTP/1.1\r\n" + HOST + b"content-length: -1\r\n\r\n",
    "a length in hex": b"POST /x HTTP/1.1\r\n" + HOST + b"content-length: 0x10\r\n\r\n" + b"a" * 16,
    "a length with a sign": b"POST /x HTTP/1.1\r\n" + HOST + b"content-length: +3\r\n\r\nabc",
    "a huge length": b"POST /x HTTP/1.1\r\n" + HOST + b"content-length: 99999999999999999999999\r\n\r\n",
    "two lengths": b"POST /x HTTP/1.1\r\n" + HOST + b"content-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
    "a coding that is not": b"POST /x HTTP/1.1\r\n" + HOST + b"transfer-encoding: gzip\r\n\r\nabc",
    "a chunk without size": b"POST /x HTTP/1.1\r\n"
    + HOST
    + b"transfer-encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
    "a chunk of a huge size": b"POST /x HTTP/1.1\r\n"
    + HOST
    + b"transfer-encoding: chunked\r\n\r\n"
    + b"f" * 40
    + b"\r\n",
    "an early close in the head": b"POST /x HTTP/1.1\r\nhost: loc",
    "an early close in the body": b"POST /x HTTP/1.1\r\n" + HOST + b"content-length: 10\r\n\r\nabc",
}


@pytest.mark.parametrize("what", BROKEN)
async def test_s17_what_is_no_http_is_refused(front: Front, what: str) -> None:
    answer = await exchange(front, BROKEN[what])
    assert all(400 <= status < 500 for status in statuses(answer)), answer[:300]
    await healthy(front)


async def test_what_is_odd_and_harmless_is_read_as_the_standard_says(front: Front) -> None:
    """A folded header is one with spaces (RFC 9112, 5.2), and a newer version is answered in ours."""
    folded = b"GET /healthz HTTP/1.1\r\n" + HOST + b"x: a\r\n b\r\n" + CLOSE + b"\r\n"
    newer = b"GET /healthz HTTP/1.9\r\n" + HOST + CLOSE + b"\r\n"
    assert [statuses(await exchange(front, request)) for request in (folded, newer)] == [[200], [200]]


@pytest.mark.parametrize(
    "target", [b"http://localhost/healthz", b"http://evil.com/healthz", b"*", b"//evil.com/healthz"]
)
async def test_other_forms_of_a_target_lead_nowhere_else(front: Front, target: bytes) -> None:
    answer = await exchange(front, b"GET " + target + b" HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n")
    assert all(status in (200, 400, 401, 404) for status in statuses(answer)), answer[:300]
    assert b"location" not in answer.lower()


SMUGGLERS = {
    "length and chunks": b"content-length: %d\r\ntransfer-encoding: chunked\r\n",
    "chunks and length": b"transfer-encoding: chunked\r\ncontent-length: %d\r\n",
    "a tab before chunked": b"content-length: %d\r\ntransfer-encoding:\tchunked\r\n",
    "two codings": b"content-length: %d\r\ntransfer-encoding: identity, chunked\r\n",
    "chunked twice": b"content-length: %d\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
    "chunked in capitals": b"content-length: %d\r\nTransfer-Encoding: CHUNKED\r\n",
    "a coding with a quirk": b"content-length: %d\r\ntransfer-encoding: xchunked\r\n",
    "a name with a space": b"content-length: %d\r\ntransfer-encoding : chunked\r\n",
    "two lengths": b"content-length: %d\r\ncontent-length: 5\r\n",
}


@pytest.mark.parametrize("how", SMUGGLERS)
async def test_s17_no_request_is_smuggled_in_the_body_of_another(front: Front, how: str) -> None:
    """Where two readers may differ on a body's end, the second request in it is read by nobody."""
    run = await front.engine.start(flows.keeps_all)
    await until(lambda: flows.urls)
    path = WEBHOOK + flows.urls[-1].rpartition("/")[2]
    inner = b"POST " + path.encode() + b" HTTP/1.1\r\n" + HOST + b"content-length: 8\r\n\r\nsmuggled"
    body = b"0\r\n\r\n" + inner
    head = b"POST /healthz HTTP/1.1\r\n" + HOST + SMUGGLERS[how] % len(body) + b"\r\n"
    answer = await exchange(front, head + body)
    assert all(400 <= status < 500 for status in statuses(answer)), answer[:300]
    assert len(statuses(answer)) <= 1, "one answer, and the end of the connection"
    assert "hook_received" not in [event.kind for event in await run.events()]
    await healthy(front)
    await run.terminate()


async def test_requests_one_after_the_other_are_each_answered(front: Front) -> None:
    one = b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"
    last = b"GET /healthz HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n"
    assert statuses(await exchange(front, one + one + last, half_close=False)) == [200, 200, 200]


async def test_a_request_that_comes_byte_by_byte_is_one(front: Front) -> None:
    run = await front.engine.start(flows.keeps_all)
    await until(lambda: flows.urls)
    path = WEBHOOK + flows.urls[-1].rpartition("/")[2]
    request = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\nconnection: close\r\n\r\nend".encode()
    assert statuses(await exchange(front, *(bytes([byte]) for byte in request), half_close=False)) == [202]
    assert await run.result() == []


async def test_s18_who_never_finishes_a_head_is_hung_up_on(
    make_engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outlive.http.serving.HEADER_SECONDS", 0.05)
    async with fronted(make_engine()) as front:
        slow = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: "
        for pieces in ((), (b"G",), (slow,)):
            assert await exchange(front, *pieces, half_close=False) in (b"",), pieces
        answer = await exchange(front, b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n", b"GET /heal", half_close=False)
        assert statuses(answer) == [200], "also the second request of a connection"
        await healthy(front)


async def test_who_leaves_early_costs_nothing(front: Front) -> None:
    """A caller who waits for a manual answer, or reads a stream, and is gone: the run has the request, and the server its memory."""
    run = await front.engine.start(flows.by_hand)
    await until(lambda: flows.urls)
    path = WEBHOOK + flows.urls[-1].rpartition("/")[2]
    host, port = front.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\n\r\nend".encode())
    await writer.drain()
    writer.transport.abort()
    assert await run.result() == 1
    await healthy(front)
