"""Streams over HTTP: as server-sent events, which a browser resumes by itself, and as lines of JSON."""

from __future__ import annotations

import asyncio
import re
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Final

import anyio
import msgspec
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from outlive.http import models
from outlive.http.auth import Role, needs
from outlive.http.problems import Problem
from outlive.model.ids import RunId
from outlive.readers import Readable, StreamItem, StreamReset
from outlive.views import masked, plain

if TYPE_CHECKING:
    from outlive.engine import Engine

PING: Final = 15
SEND_TIMEOUT: Final = 30.0
"""Seconds that a reader may take for one chunk; it can come back and go on where it was."""
FAREWELL: Final = 5.0
_RUN: Final = re.compile(models.RUN_ID)
_NAME: Final = re.compile(models.NAME)
_INTEGER: Final = re.compile(r"-?\d{1,18}", re.ASCII)


@needs(Role.VIEWER)
async def as_events(request: Request) -> Response:
    """``text/event-stream``: ``id`` is the chunk's index; events ``reset``, ``end``, and ``resume`` when this server stops."""
    reader = await _reader(request)
    stopping = anyio.Event()  # set when uvicorn is told to stop, whoever runs it
    return EventSourceResponse(
        _events(reader, stopping, request.app.state.stopping),
        ping=PING,
        send_timeout=SEND_TIMEOUT,
        shutdown_event=stopping,
        shutdown_grace_period=FAREWELL,
    )


@needs(Role.VIEWER)
async def as_lines(request: Request) -> Response:
    """``application/x-ndjson``: one object a line, the last of which says why it ends."""
    reader = await _reader(request)
    return StreamingResponse(_lines(reader, request.app.state.stopping), media_type="application/x-ndjson")


async def _reader(request: Request) -> Readable:
    engine: Engine = request.app.state.engine
    run, name = request.path_params["run_id"], request.path_params["name"]
    if not _RUN.fullmatch(run) or not _NAME.fullmatch(name):
        raise Problem(404, "there is no such stream")
    await engine.info(RunId(run))
    last = request.headers.get("last-event-id", "")
    given = request.query_params.get("start", "0")
    if last:
        if not _INTEGER.fullmatch(last) or int(last) < 0:
            raise Problem(422, "Last-Event-ID is the index of a chunk")
        start = int(last) + 1
    elif _INTEGER.fullmatch(given):
        start = int(given)
    else:
        raise Problem(422, "start is an index, or negative: so many values from the end")
    return engine.get_run(run).stream(name, start)


async def _events(reader: Readable, *stopping: anyio.Event) -> AsyncIterator[ServerSentEvent]:
    yield ServerSentEvent(comment="open", retry=1_000)
    async for item in _until(reader, stopping):
        if item is None:
            yield ServerSentEvent(event="resume", data=_json({"start": reader.cursor}), retry=1_000)
            return
        index = str(item.index)
        if isinstance(item.value, StreamReset):
            yield ServerSentEvent(event="reset", data=_json({"since": item.value.since}), id=index)
        elif isinstance(item.value, bytes):
            yield ServerSentEvent(event="bytes", data=b64encode(item.value).decode(), id=index)
        else:
            yield ServerSentEvent(data=_json(masked(plain(item.value))), id=index)
    yield ServerSentEvent(event="end", data=_json({"reason": reader.reason}))


async def _lines(reader: Readable, stopping: anyio.Event) -> AsyncIterator[bytes]:
    async for item in _until(reader, (stopping,)):
        if item is None:
            yield _line({"resume": reader.cursor})
            return
        line: dict[str, object] = {"index": item.index, "time": item.time}
        if isinstance(item.value, StreamReset):
            line["reset"] = item.value.since
        elif isinstance(item.value, bytes):
            line["bytes"] = b64encode(item.value).decode()
        else:
            line["value"] = masked(plain(item.value))
        yield _line(line)
    yield _line({"end": reader.reason})


async def _until(reader: Readable, stopping: Sequence[anyio.Event]) -> AsyncIterator[StreamItem | None]:
    """The chunks of ``reader``; None, once, when this server stops."""
    items = aiter(reader.items())
    stops = [asyncio.ensure_future(event.wait()) for event in stopping]
    try:
        while True:
            following = asyncio.ensure_future(anext(items))
            try:
                await asyncio.wait([following, *stops], return_when=asyncio.FIRST_COMPLETED)
                if not following.done():
                    yield None
                    return
                yield following.result()
            except StopAsyncIteration:
                return
            finally:
                if not following.done():
                    following.cancel()
                    await asyncio.wait([following])
    finally:
        for stop in stops:
            stop.cancel()


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _line(value: dict[str, object]) -> bytes:
    return msgspec.json.encode(value) + b"\n"
