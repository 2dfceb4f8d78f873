"""The workloads over HTTP: the server in this process, its callers in another where they would share its core."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from outlive import Engine, create_webhook, get_writable, step, workflow
from outlive.http import Role, create_app
from outlive.http.auth import create_key
from outlive.http.serving import Server, address_of, listen

Figures = dict[str, float]

CONNECTIONS = 64
BATCH = 100

links: list[str] = []


@step
async def give_away(url: str) -> None:
    links.append(url)


@workflow
async def one_request() -> int:
    webhook = create_webhook()
    await give_away(webhook.url)
    return len(await (await webhook).body())


@workflow
async def requests(count: int) -> int:
    webhook = create_webhook()
    await give_away(webhook.url)
    for _ in range(count):
        await webhook
    return count


@step
async def write_times(count: int) -> None:
    stream = get_writable("times")
    for _ in range(count):
        await stream.write(time.perf_counter())
        await asyncio.sleep(0.01)


@workflow
async def writes_times(count: int) -> None:
    await write_times(count)


@step
async def write_many(count: int) -> None:
    stream = get_writable("many")
    for number in range(count):
        await stream.write({"n": number, "token": "word"})
        if number % BATCH == BATCH - 1:
            await asyncio.sleep(0)


@workflow
async def writes_many(count: int) -> None:
    await write_many(count)


@asynccontextmanager
async def served(engine: Engine) -> AsyncGenerator[tuple[int, str]]:
    """A server for ``engine``: its port, and a key."""
    _, key = await create_key(engine, name="benchmark", role=Role.VIEWER)
    started = asyncio.Event()
    with listen("127.0.0.1", 0) as listener:
        app = create_app(engine)
        server = Server(app, on_started=started.set)
        serving = asyncio.create_task(server._serve([listener]))
        await started.wait()
        try:
            yield int(address_of(listener).rpartition(":")[2]), key
        finally:
            app.state.stopping.set()
            server.should_exit = True
            await serving


def post(path: str, body: bytes = b"{}") -> bytes:
    return f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


async def answer(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 202"), head
    length = head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
    await reader.readexactly(int(length))


async def webhook(engine: Engine, size: int) -> Figures:
    """From the first byte of a request to the result of the run that waited for it."""
    taken: list[float] = []
    async with served(engine) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(size):
            run = await engine.start(one_request)
            while not links:
                await asyncio.sleep(0.001)
            request = post("/" + links.pop().split("/", 3)[3])
            await asyncio.sleep(0.005)
            begun = time.perf_counter()
            writer.write(request)
            assert await run.result() == 2
            taken.append(time.perf_counter() - begun)
            await answer(reader)
        writer.close()
    taken.sort()
    return {"value": taken[len(taken) // 2] * 1_000, "p99": taken[len(taken) * 99 // 100] * 1_000}


async def webhooks(engine: Engine, size: int) -> Figures:
    """Requests a second that are accepted, delivered and seen by their runs, from as many callers as there are runs."""
    each = max(size // CONNECTIONS, 1)
    async with served(engine) as (port, _):
        runs = [await engine.start(requests, each) for _ in range(CONNECTIONS)]
        while len(links) < CONNECTIONS:
            await asyncio.sleep(0.01)
        paths = ["/" + link.split("/", 3)[3] for link in links]
        command = [sys.executable, "-m", "benchmarks.http_programs", str(port), str(each)]
        callers = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await callers.communicate(json.dumps(paths).encode())
        assert await asyncio.gather(*(run.result() for run in runs)) == [each] * CONNECTIONS
    return {"value": float(output)}


async def sse(engine: Engine, size: int) -> Figures:
    """From the write of a chunk to its arrival at a reader over HTTP."""
    taken: list[float] = []
    async with served(engine) as (port, key):
        run = await engine.start(writes_times, size)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        path = f"/api/v1/runs/{run.id}/streams/times/events"
        writer.write(f"GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n\r\n".encode())
        while line := await reader.readline():
            if line.startswith(b"data: ") and not line.startswith(b"data: {"):
                taken.append(time.perf_counter() - float(line[6:]))
            elif line.startswith(b"event: end"):
                break
        writer.close()
    taken = sorted(taken[size // 10 :])  # those that were written before the reader came are no measure
    return {"value": taken[len(taken) // 2] * 1_000, "p99": taken[len(taken) * 99 // 100] * 1_000}


async def chunks(engine: Engine, size: int) -> Figures:
    """Chunks a second from a step to a reader."""
    begun = time.perf_counter()
    run = await engine.start(writes_many, size)
    number = 0
    async for _ in run.stream("many"):
        number += 1
    assert number == size
    return {"value": size / (time.perf_counter() - begun)}


async def call(port: int, paths: list[str], each: int) -> float:
    """Requests a second, one caller for each path."""

    async def calls(path: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        request = post(path)
        for _ in range(each):
            writer.write(request)
            await answer(reader)
        writer.close()

    begun = time.perf_counter()
    await asyncio.gather(*(calls(path) for path in paths))
    return each * len(paths) / (time.perf_counter() - begun)


PROGRAMS: dict[str, Any] = {"webhook": webhook, "webhooks": webhooks, "sse": sse, "chunks": chunks}

if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        print(asyncio.run(call(int(sys.argv[1]), json.load(sys.stdin), int(sys.argv[2]))))
