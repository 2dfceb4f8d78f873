"""``outlive runs``, and what can be asked of a run: ``cancel``, ``terminate``, ``wake``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from cyclopts import Parameter

from outlive._core.texts import LONGEST_ID, LONGEST_REASON
from outlive.cli import exits
from outlive.cli.opening import client, record_of
from outlive.cli.options import AsJson, Url, checked
from outlive.cli.output import cut, from_now, iso, length, line, on_terminal, print_json, styled, table
from outlive.handles import Run
from outlive.infos import RunInfo
from outlive.model.records import RunStatus


def runs(
    *,
    status: RunStatus | None = None,
    workflow: str | None = None,
    tag: str | None = None,
    limit: Annotated[int, Parameter(name=("--limit", "-n"))] = 50,
    before: str | None = None,
    url: Url = None,
    json: AsJson = False,
) -> None:
    """List runs, newest first.

    In a pipe: id, status, workflow, created, ended, due, tags; between tabs, times in UTC.

    Parameters
    ----------
    status
        Only runs with this status.
    workflow
        Only runs of the workflow with this name (module:function).
    tag
        Only runs that carry this tag.
    limit
        At most so many.
    before
        Only runs older than this one: the next page.
    """
    if not 1 <= limit <= 100_000:
        raise exits.Complaint("--limit is between 1 and 100,000; --before gives the next page")
    found = asyncio.run(_list(url, status=status, workflow=workflow, tag=tag, limit=limit, before=before))
    if json:
        print_json(found)
    elif not on_terminal():
        for info in found:
            tags = ",".join(info.tags) or "-"
            line(info.id, info.status, info.workflow, *map(iso, (info.created_at, info.ended_at, info.wake_at)), tags)
    elif not found:
        print("no runs")
    else:
        now = time.time()
        rows = (
            (
                info.id,
                styled(info.status),
                info.workflow,
                from_now(info.created_at.timestamp(), now),
                _outlook(info, now),
            )
            for info in found
        )
        table(("run", "status", "workflow", "created", ""), rows)
        if len(found) == limit:
            print(f"older ones: outlive runs --before {found[-1].id}")


async def _list(
    url: str | None, *, status: RunStatus | None, workflow: str | None, tag: str | None, limit: int, before: str | None
) -> list[RunInfo]:
    async with client(url) as engine:
        if before is not None:
            await record_of(engine, before)
        for text in (workflow, tag):
            checked(text or "", "a filter", most=LONGEST_ID)
        return await engine.list_runs(status=status, workflow=workflow, tag=tag, limit=limit, before=before)


def _outlook(info: RunInfo, now: float) -> str:
    """What will become of it, or how long it took."""
    if info.ended_at is not None:
        return f"[dim]took {length((info.ended_at - info.created_at).total_seconds())}[/]"
    if info.status is RunStatus.PARKED:
        return cut(info.reason)
    if info.owner is not None:
        return "on a worker"
    if info.wake_at is None:
        return "waits for a message"
    due = info.wake_at.timestamp()
    return f"sleeps, due {from_now(due, now)}" if due > now else "due, waits for a worker"


def cancel(run: str, /, *, url: Url = None) -> int:
    """Ask a run to end: its body gets CancelledError and may clean up.

    It takes effect when a worker has the run. Exit code 1 if the run had ended.
    """
    return asyncio.run(_ask(url, run, lambda handle: handle.cancel(), "asked to cancel; it ends when a worker has it"))


def terminate(run: str, /, *, reason: str = "", url: Url = None) -> int:
    """End a run at once, without its body: nothing is cleaned up.

    Exit code 1 if the run had ended.

    Parameters
    ----------
    reason
        Kept with the run, for whoever asks for its result.
    """
    checked(reason, "a reason", most=LONGEST_REASON)
    return asyncio.run(_ask(url, run, lambda handle: handle.terminate(reason), "terminated"))


def wake(run: str, /, *, url: Url = None) -> int:
    """Complete the sleeps of a run now, and try again if it is parked.

    Exit code 1 if the run had ended.
    """
    return asyncio.run(_ask(url, run, lambda handle: handle.wake_up(), "woken; it goes on when a worker has it"))


async def _ask(url: str | None, run: str, ask: Callable[[Run[Any]], Coroutine[Any, Any, bool]], done: str) -> int:
    async with client(url) as engine:
        await record_of(engine, run)
        if await ask(engine.get_run(run)):
            print(f"run {run}: {done}")
            return exits.DONE
        exits.complain(f"run {run} had ended already: it is {(await record_of(engine, run)).status}")
        return exits.FAILED
