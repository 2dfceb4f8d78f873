"""Streams over HTTP: each chunk once and in order, however often the connection is cut."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from outlive import Run

from . import flows
from .conftest import Front


def path_of(run: Run[Any], kind: str = "events", name: str = "numbers") -> str:
    return f"/api/v1/runs/{run.id}/streams/{name}/{kind}"


async def events(answer: httpx2.Response) -> AsyncIterator[dict[str, str]]:
    """As a browser's EventSource reads them."""
    event: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if not line:
            if "data" in event:
                yield event
            event = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(": ")
            event[name] = value


async def read(client: httpx2.AsyncClient, url: str, **headers: str) -> list[dict[str, str]]:
    async with client.stream("GET", url, headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        return [event async for event in events(answer)]


async def test_a_stream_is_told_to_its_end(front: Front) -> None:
    run = await front.engine.start(flows.streams, 3)
    client = front.client("viewer")
    told = await read(client, path_of(run))
    assert [event.get("id") for event in told] == ["0", "1", "2", "3", None]
    assert [json.loads(event["data"]) for event in told[:3]] == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert (told[3]["event"], told[3]["data"]) == ("bytes", "AP8=")
    assert (told[4]["event"], json.loads(told[4]["data"])) == ("end", {"reason": "completed"})
    assert [event["id"] for event in await read(client, f"{path_of(run)}?start=-2") if "id" in event] == ["2", "3"]
    resumed = await read(client, f"{path_of(run)}?start=-3", **{"last-event-id": "2"})
    assert [event["id"] for event in resumed if "id" in event] == ["3"], "the browser's own place comes first"


async def test_the_same_as_lines(front: Front) -> None:
    run = await front.engine.start(flows.streams, 2)
    answer = await front.client("viewer").get(path_of(run, "lines"))
    assert answer.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [(line["index"], line.get("value"), line.get("bytes")) for line in lines[:-1]] == [
        (0, {"n": 0}, None),
        (1, {"n": 1}, None),
        (2, None, "AP8="),
    ]
    assert lines[-1] == {"end": "completed"}


@pytest.mark.parametrize("start", ["x", "1.5", "--1", "9" * 30, "1_000", "٣"])
async def test_where_to_start_is_a_number(front: Front, start: str) -> None:
    run = await front.engine.start(flows.streams, 1)
    client = front.client("viewer")
    assert (await client.get(path_of(run), params={"start": start})).status_code == 422
    place = {"last-event-id": start if start.isascii() else "-1"}
    assert (await client.get(path_of(run), headers=place)).status_code == 422


async def test_a_run_or_a_stream_that_is_not_there(front: Front) -> None:
    run = await front.engine.start(flows.streams, 1)
    client = front.client("viewer")
    assert (await client.get("/api/v1/runs/none/streams/numbers/events")).status_code == 404
    assert (await client.get(path_of(run, name="..%2f..%2fetc"))).status_code == 404
    await run.result()
    assert [event["event"] for event in await read(client, path_of(run, name="silent"))] == ["end"]


async def test_g3_readers_are_told_when_an_attempt_is_void(front: Front) -> None:
    run = await front.engine.start(flows.retries)
    async with front.client("viewer").stream("GET", path_of(run)) as answer:
        kept: list[tuple[str, object]] = []
        async for event in events(answer):
            match event.get("event"):
                case "reset":
                    since = json.loads(event["data"])["since"]
                    kept = [(index, value) for index, value in kept if int(index) < since]
                case None:
                    kept.append((event["id"], json.loads(event["data"])))
    assert [value for _, value in kept] == [[2, 0], [2, 1], [2, 2]]


@pytest.mark.slow
async def test_g1_ten_thousand_chunks_over_a_connection_that_is_cut_fifty_times(front: Front) -> None:
    number, cuts = 10_000, 50
    run = await front.engine.start(flows.streams, number)
    client = front.client("viewer")
    seen: list[int] = []
    connections, last, ended = 0, "", False
    while not ended:
        connections += 1
        headers = {"last-event-id": last} if last else {}
        room = number // cuts if connections <= cuts else None
        async with client.stream("GET", path_of(run), headers=headers) as answer:
            async for event in events(answer):
                ended = event.get("event") == "end"
                if event.get("event") is None:
                    seen.append(json.loads(event["data"])["n"])
                last = event.get("id", last)
                if room is not None:
                    room -= 1
                    if room == 0:
                        break  # the connection is closed in the middle of an event, more of which are on their way
    assert connections > cuts
    assert seen == list(range(number))


@pytest.mark.slow
async def test_g4_a_slow_reader_costs_no_memory(front: Front) -> None:
    """What it has not read stays in the store, not in the server."""
    size, number = 200_000, 500
    run = await front.engine.start(flows.flood, number, size)
    async with front.client("viewer").stream("GET", path_of(run)) as answer:
        await run.result()
        before = memory()
        await asyncio.sleep(0.5)  # the server has had its chance to read all of it
        assert memory() - before < number * size // 4
        got = [event async for event in events(answer)]
    assert len([event for event in got if event.get("event") == "bytes"]) == number


def memory() -> int:
    """Resident bytes of this process, which is the server too."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096


async def test_a_stopping_server_says_where_to_go_on(front: Front) -> None:
    run = await front.engine.start(flows.idles)
    client = front.client("viewer")
    async with client.stream("GET", path_of(run)) as as_events, client.stream("GET", path_of(run, "lines")) as as_lines:
        told, lines = events(as_events), as_lines.aiter_lines()
        assert (await anext(told))["id"] == "0"
        assert json.loads(await anext(lines))["index"] == 0
        front.app.state.stopping.set()
        farewell = await anext(told)
        assert (farewell["event"], json.loads(farewell["data"])) == ("resume", {"start": 1})
        assert json.loads(await anext(lines)) == {"resume": 1}
    await run.terminate()
