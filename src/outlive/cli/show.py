"""``outlive show``: what happened to a run, and what it waits for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import msgspec

from outlive.cli.exits import Complaint
from outlive.cli.opening import client, record_of
from outlive.cli.options import AsJson, Url
from outlive.cli.output import (
    console,
    cut,
    from_now,
    iso,
    length,
    line,
    local,
    on_terminal,
    print_json,
    styled,
    table,
    to_json,
)
from outlive.cli.timeline import Entry, tell
from outlive.infos import RunEvent, RunInfo
from outlive.views import hide, secrets_of, view

if TYPE_CHECKING:
    from outlive.model.events import Recorded
    from outlive.model.records import RunRecord, ServiceRecord, TaskRecord

_MOMENTS = ("started", "ended", "due")
_ENCODED = ("input", "result", "error", "metadata", "outcome")


def show(run: str, /, *, link: int | None = None, tokens: bool = False, url: Url = None, json: AsJson = False) -> None:
    """Show what happened to a run: steps, waits, hooks and children with their times, and what it waits for.

    Parameters
    ----------
    link
        Of a run that continued as new: which of its links (the newest).
    tokens
        Tell the tokens of hooks. They are secrets: whoever has one can send payloads.
    """
    info, number, log, events, tasks, nobody = asyncio.run(_read(url, run, link))
    entries = tell(log, tokens=tokens)
    if not tokens:
        hidden = secrets_of(log)
        entries = [msgspec.convert(hide(msgspec.to_builtins(entry), hidden), Entry) for entry in entries]
        events = [
            msgspec.structs.replace(event, data=cast("dict[str, Any]", hide(event.data, hidden))) for event in events
        ]
    if json:
        print_json(
            {
                "run": info,
                "link": number,
                "waits_for": nobody or None,
                "timeline": [_for_programs(entry) for entry in entries],
                "events": [_readable(event, tokens=tokens) for event in events],
            }
        )
    elif on_terminal():
        _print_for_people(info, number, entries, tasks, nobody)
    else:
        _print_lines(info, number, entries, tasks, nobody)


class _Seen(NamedTuple):
    info: RunInfo
    link: int
    log: list[Recorded]
    events: list[RunEvent]
    tasks: dict[int, str]
    """Of steps in queues by ref: what becomes of them."""
    nobody: str
    """Why a run that is due is not taken; empty if somebody will."""


async def _read(url: str | None, run: str, link: int | None) -> _Seen:
    async with client(url) as engine:
        record = await record_of(engine, run)
        number = record.link if link is None else link
        if not 1 <= number <= record.link:
            raise Complaint(f"run {run} has links 1 to {record.link}")
        handle = engine.get_run(run)
        served = {queue.name: queue.served for queue in await engine.store.queues()}
        services = await engine.store.services()
        steps = {step for service in services for step in service.steps}
        tasks = {
            task.ref: _state(task, served=served.get(task.queue, 0), known=task.name in steps)
            for task in await engine.store.tasks(record.id)
            if task.link == number and not task.void
        }
        log = await engine.store.log(record.id, number)
        due = record.wake_at is not None and record.wake_at <= engine.store.clock.now()
        nobody = _missed(record, services) if due else ""
        return _Seen(await handle.info(), number, log, await handle.events(number), tasks, nobody)


def _missed(record: RunRecord, services: list[ServiceRecord]) -> str:
    serving = [service for service in services if service.queues is None or record.queue in service.queues]
    if any(record.workflow in service.workflows for service in serving):
        return ""
    if serving:
        return "a worker: no living one knows its workflow"
    return f"a worker: no living one serves queue {record.queue}" if services else "a worker: there is none"


def _state(task: TaskRecord, *, served: int, known: bool) -> str:
    if task.owner is not None:
        return f"worker {task.owner} runs it"
    if not served:
        return "no living worker serves its queue"
    if not known:
        return "no living worker knows it"
    apart = f"; {task.deaths} workers died with it, so few or none are run beside it" if task.deaths else ""
    return f"it waits for its turn{apart}"


def _for_programs(entry: Entry) -> dict[str, object]:
    made = cast("dict[str, object]", msgspec.to_builtins(entry))
    for moment in _MOMENTS:
        if made.get(moment) is not None:
            made[moment] = iso(cast("float", made[moment]))
    return made


def _readable(event: RunEvent, *, tokens: bool) -> RunEvent:
    """``event`` with its values as people read them."""
    data = {
        key: view(msgspec.json.encode(value), tokens=tokens) if key in _ENCODED else value
        for key, value in event.data.items()
        if tokens or key not in ("token", "token_hash")
    }
    return msgspec.structs.replace(event, data=data)


def _print_lines(info: RunInfo, number: int, entries: list[Entry], tasks: dict[int, str], nobody: str) -> None:
    line(
        "run",
        info.id,
        info.status,
        info.workflow,
        f"link {number} of {info.link}",
        info.reason or (nobody and f"waits for {nobody}") or "-",
    )
    for entry in entries:
        took = "-" if entry.ended is None else f"{max(entry.ended - entry.started, 0.0):.3f}"
        line(
            iso(entry.started),
            entry.kind,
            entry.name or "-",
            entry.status,
            took,
            "; ".join((*_notes(entry), *_where(entry, tasks))) or "-",
        )


def _print_for_people(info: RunInfo, number: int, entries: list[Entry], tasks: dict[int, str], nobody: str) -> None:
    from rich.markup import escape

    now = time.time()
    out = console()
    end = f", ended {local(info.ended_at)}" if info.ended_at is not None else ""
    out.print(f"[bold]{info.id}[/]  {escape(info.workflow)}  {styled(info.status)}")
    out.print(f"[dim]created {local(info.created_at)} ({from_now(info.created_at.timestamp(), now)}){end}[/]")
    if info.tags or info.link > 1 or info.parent_id is not None:
        parts = [f"link {number} of {info.link}"] if info.link > 1 else []
        parts += [f"child of {info.parent_id}"] if info.parent_id is not None else []
        parts += [f"tags {', '.join(info.tags)}"] if info.tags else []
        out.print(f"[dim]{escape('; '.join(parts))}[/]")
    out.print()
    begun = entries[0].started if entries else 0.0
    module = info.workflow.partition(":")[0] + ":"
    rows: list[tuple[str, ...]] = []
    for entry in entries:
        took = length(entry.ended - entry.started) if entry.ended is not None else ""
        name = escape(entry.name.removeprefix(module))
        status = styled(entry.status)
        notes = escape(cut("; ".join(_notes(entry)), 200))
        rows.append((f"[dim]+{max(entry.started - begun, 0.0):.3f}[/]", entry.kind, name, status, took, notes))
    table(("s", "", "", "", "took", ""), rows)
    for entry in entries:
        if entry.report:
            out.print(f"\n{styled(entry.status)} {escape(entry.name)}\n{escape(entry.report.rstrip())}")
    waiting = [] if info.ended_at is not None else [*filter(None, [nobody]), *_waiting(entries, tasks, now)]
    if waiting:
        out.print("\nwaiting for")
        for text in waiting:
            out.print(f"  {escape(text)}")


def _notes(entry: Entry) -> Iterator[str]:
    if entry.attempts > 1:
        yield f"{entry.attempts} attempts"
    if entry.taken_over:
        yield "begun by another worker"
    yield from (f"failed: {failure}" for failure in entry.failures)
    if entry.due is not None and entry.ended is None:
        yield f"due {iso(entry.due)}"
    if entry.token:
        yield f"token {entry.token}"
    yield from (f"got {cut(to_json(payload))}" for payload in entry.payloads)
    if entry.value is not None:
        yield cut(entry.value if isinstance(entry.value, str) else to_json(entry.value), 100)


def _where(entry: Entry, tasks: dict[int, str]) -> Iterator[str]:
    if entry.status == "queued" and entry.ref in tasks:
        yield tasks[entry.ref]


def _waiting(entries: list[Entry], tasks: dict[int, str], now: float) -> Iterator[str]:
    for entry in entries:
        name = f" {entry.name}" if entry.name else ""
        if entry.status == "retrying" and entry.due is not None:
            yield f"step{name}: attempt {entry.attempts + 1} is due {from_now(entry.due, now)}"
        elif entry.status == "queued":
            yield f"step{name}: {tasks.get(entry.ref, 'it has just ended')} (queue {entry.queue})"
        elif entry.status == "running":
            yield f"step{name}, running since {local(entry.started)}"
        elif entry.status == "waiting" and entry.due is not None:
            yield f"{entry.kind} until {local(entry.due)} ({from_now(entry.due, now)})"
        elif entry.status == "open":
            yield f"hook{name}" + (f" with token {entry.token}" if entry.token else " (its token: --tokens)")
