"""``outlive tail``: a stream, as it is written."""

from __future__ import annotations

import asyncio
import sys
from base64 import b64encode
from typing import Annotated, Any, cast

from cyclopts import Parameter

from outlive.cli.exits import CANCELLED, DONE, FAILED, TERMINATED, Complaint
from outlive.cli.opening import client, record_of
from outlive.cli.options import AsJson, Url
from outlive.cli.output import line, on_terminal, to_json
from outlive.engine import Engine
from outlive.handles import Run
from outlive.model.ids import RunId
from outlive.readers import Readable, StreamItem, StreamReset
from outlive.views import masked, plain

PROGRESS = "progress"
LOOK = 0.2
_ENDS = {"failed": FAILED, "cancelled": CANCELLED, "terminated": TERMINATED}


def tail(
    run: str,
    /,
    *,
    stream: str | None = None,
    start: Annotated[int, Parameter(allow_leading_hyphen=True)] = 0,
    url: Url = None,
    json: AsJson = False,
) -> int:
    """Follow a stream of a run until it ends.

    What steps tell with `await progress(done, total)` is shown as bars. With an end of the run that is no success the exit code says so.

    Parameters
    ----------
    stream
        Its name. Unset: the only one that there is, besides `progress`.
    start
        Index of the first chunk; negative: so many from the end.
    """
    return asyncio.run(_tail(run, stream, start, url, json=json))


async def _tail(run: str, stream: str | None, start: int, url: str | None, *, json: bool) -> int:
    async with client(url) as engine:
        await record_of(engine, run)
        handle = engine.get_run(run)
        name = stream if stream is not None else await _choose(engine, handle)
        if name is None:
            print(f"run {run} has ended and wrote no stream", file=sys.stderr)
            return DONE
        try:
            reader = handle.stream(name, start)
        except ValueError as error:
            raise Complaint(str(error)) from error
        if json:
            await _as_json(reader)
        elif name == PROGRESS and on_terminal():
            await _as_bars(reader)
        else:
            await _as_lines(reader, who=name == PROGRESS)
        if not json:
            print(f"the stream {name} ended: {reader.reason}", file=sys.stderr)
        return _ENDS.get(reader.reason, DONE)


async def _choose(engine: Engine, handle: Run[Any]) -> str | None:
    """The stream to follow: waits until something is written, or the run has ended; then there is None.

    Raises:
        Complaint: There are several.
    """
    told = False
    while True:
        record = await engine.store.run(RunId(handle.id))
        names = [info.name for info in await handle.list_streams()]
        spoken = [name for name in names if name != PROGRESS] or names
        if len(spoken) == 1:
            return spoken[0]
        if spoken:
            raise Complaint(f"which stream? --stream {' or --stream '.join(spoken)}")
        if record is None or record.ended_at is not None:
            return None
        if not told and on_terminal():
            print(f"waiting for run {handle.id} to write a stream", file=sys.stderr)
            told = True
        await asyncio.sleep(LOOK)


async def _as_json(reader: Readable) -> None:
    async for item in reader.items():
        entry: dict[str, object] = {"index": item.index, "time": item.time}
        if isinstance(item.value, StreamReset):
            entry["reset"] = item.value.since
        elif isinstance(item.value, bytes):
            entry["bytes"] = b64encode(item.value).decode()
        else:
            entry["value"] = masked(plain(item.value))
        print(to_json(entry), flush=True)
    print(to_json({"end": reader.reason}), flush=True)


async def _as_lines(reader: Readable, *, who: bool) -> None:
    async for item in reader.items():
        if isinstance(item.value, StreamReset):
            print(f"-- void from {item.value.since} on: the step begins anew", file=sys.stderr)
        elif isinstance(item.value, bytes):
            sys.stdout.flush()
            sys.stdout.buffer.write(item.value)
        elif isinstance(item.value, str):
            print(item.value)
        elif who:
            told = cast("dict[str, object]", item.value)
            line(*(told.get(key) or "" for key in ("step", "done", "total", "note")))
        else:
            print(to_json(masked(plain(item.value))))
        sys.stdout.flush()


async def _as_bars(reader: Readable) -> None:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[note]}")) as bars:
        tasks: dict[str, TaskID] = {}
        async for item in reader.items():
            _show(item, bars, tasks)


def _show(item: StreamItem, bars: Any, tasks: dict[str, Any]) -> None:
    if not isinstance(item.value, dict):
        return  # the step of a bar that is void says anew how far it is
    told = cast("dict[str, Any]", item.value)
    step = str(told.get("step", ""))
    if step not in tasks:
        tasks[step] = bars.add_task(step.rpartition(":")[2], total=told.get("total"), note="")
    bars.update(tasks[step], completed=told.get("done", 0), total=told.get("total"), note=told.get("note", ""))
