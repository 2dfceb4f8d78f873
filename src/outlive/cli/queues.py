"""``outlive queues``: what waits in them, who serves them, and how much of each may run at once."""

from __future__ import annotations

import asyncio
import time
from typing import Final

import msgspec
from cyclopts import App

from outlive.cli.exits import Complaint
from outlive.cli.opening import client
from outlive.cli.options import AsJson, Url
from outlive.cli.output import console, from_now, iso, line, on_terminal, print_json, table
from outlive.model.records import QueueRecord

app: Final = App(
    name="queues", help="Queues of steps: what waits, what runs, who serves them.", result_action="return_value"
)

NOBODY: Final = "no living worker serves it"


@app.default
def queues(*, url: Url = None, json: AsJson = False) -> None:
    """List the queues: steps that wait and that run, the limit, living workers that serve it, since when the first one waits."""
    found = asyncio.run(_read(url))
    if json:
        print_json([_for_programs(queue) for queue in found])
        return
    if not on_terminal():
        for queue in found:
            since = "-" if queue.oldest is None else iso(queue.oldest)
            limit = "-" if queue.limit is None else queue.limit
            line(queue.name, queue.waiting, queue.running, limit, queue.served, since)
        return
    rows = [
        (
            queue.name,
            str(queue.waiting),
            f"{queue.running}" + ("" if queue.limit is None else f" of {queue.limit}"),
            str(queue.served) if queue.served else f"[bold red]{NOBODY}[/]" if queue.waiting else "0",
            "" if queue.oldest is None else from_now(queue.oldest, time.time()),
        )
        for queue in found
    ]
    if rows:
        table(("queue", "waiting", "running", "workers", "first since"), rows)
    else:
        console().print("no step was ever put into a queue")


@app.command
def limit(queue: str, most: str, /, *, url: Url = None) -> None:
    """Let at most so many steps of a queue run at once, across all workers; "none" lifts the limit.

    What runs already is left to end.
    """
    if most != "none" and not (most.isascii() and most.isdecimal()):
        raise Complaint(f"{most!r} is no limit; give a number, 0 to stop the queue, or none")
    asyncio.run(_limit(url, queue, None if most == "none" else int(most)))


async def _read(url: str | None) -> list[QueueRecord]:
    async with client(url) as engine:
        return await engine.store.queues()


async def _limit(url: str | None, queue: str, most: int | None) -> None:
    async with client(url) as engine:
        try:
            await engine.limit_queue(queue, most)
        except ValueError as error:
            raise Complaint(str(error)) from None


def _for_programs(queue: QueueRecord) -> dict[str, object]:
    made: dict[str, object] = msgspec.to_builtins(queue)
    return {**made, "oldest": None if queue.oldest is None else iso(queue.oldest)}
