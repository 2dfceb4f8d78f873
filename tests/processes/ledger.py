"""What the ledger, the store and the results of a fleet's work must say together."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TypeVar

from outlive import Engine, HookNotFound, StoreUnavailable
from outlive.model.ids import step_id

from .fleet import Fleet

T = TypeVar("T")


async def insist(call: Callable[[], Awaitable[T]]) -> T:
    """A client that asks again while there is nobody to answer."""
    while True:
        try:
            return await call()
        except StoreUnavailable:
            await asyncio.sleep(0.05)


async def send(client: Engine, name: str, count: int) -> None:
    """A client that knows of no worker: it insists until it is told that a payload is durable."""
    for number in range(count):
        while True:
            try:
                await client.resume_hook(f"hook-{name}", number, idempotency_key=f"{name}-{number}")
                break
            except (HookNotFound, StoreUnavailable):
                await asyncio.sleep(0.005)


def check_mixed(result: object) -> None:
    """Of a run of ``mixed`` with four payloads."""
    assert isinstance(result, dict)
    assert result["got"] == [0, 1, 2, 3]
    assert result["once"] in ("acted", "interrupted")
    assert result["child"] == 7


async def check_ledger(client: Engine, fleet: Fleet) -> None:
    """Nothing that was recorded is missing, nothing was done again after it was recorded, and the store is sound.

    A process that is frozen between its last look at its lease and the first line of a step is excused: nobody can close that gap.
    """
    assert await insist(client.store.audit) == []
    recorded = await insist(lambda: _completions(client))
    once = Counter(step for step, _ in fleet.lines("once")).most_common(1)
    assert not once or once[0][1] == 1, f"an at_most_once step began twice: {once}"
    ended_steps = {step for step, _ in fleet.lines("end")}
    lost = {step for step in recorded if step not in ended_steps and not step.endswith(":act_once")}
    assert lost == set(), "recorded, and never done"
    late = [step for step, at in fleet.began() if at > recorded.get(step, float("inf"))]
    told = [line for line in fleet.ledger.read_text().splitlines() if line.split()[1] in late]
    assert late == [], f"done again after it was recorded at {[recorded[step] for step in late]}: {told}"


async def _completions(client: Engine) -> dict[str, float]:
    """When each step was recorded, by step id."""
    found: dict[str, float] = {}
    before: str | None = None
    while page := await client.list_runs(before=before, limit=100):
        for info in page:
            assert info.status == "completed", info
            for event in await client.get_run(info.id).events():
                if event.kind == "step_completed":
                    found[step_id(info.id, event.link, event.ref, event.data["name"])] = event.time.timestamp()
        before = page[-1].id
    return found
