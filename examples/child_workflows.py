"""Workflows in workflows: ``start`` makes a run of its own, a plain ``await`` runs one inline, in the caller's log.

A child run has its own id, log and status, and nothing of the parent is held while it waits for the child's result.
"""

from __future__ import annotations

import asyncio

from _effects import effect

from outlive import run, sleep, start, step, workflow

SALES = {"north": [10, 20], "south": [5, 5, 5], "west": [40]}


@step
async def read_shop(region: str, shop: int) -> int:
    await asyncio.sleep(0.05)
    effect("read the sales of", f"{region} {shop}")
    return SALES[region][shop]


@step
async def write_report(totals: dict[str, int]) -> str:
    await asyncio.sleep(0.05)
    effect("wrote the report of", f"{len(totals)} regions")
    return ", ".join(f"{region} {total}" for region, total in totals.items())


@workflow
async def region_total(region: str, pause: str) -> int:
    total = 0
    for shop in range(len(SALES[region])):
        total += await read_shop(region, shop)
        await sleep(pause)  # the shops' server is old; it wants to rest between calls
    return total


@workflow
async def make_report(totals: dict[str, int]) -> str:
    return f"{await write_report(totals)}; all: {sum(totals.values())}"


@workflow
async def monthly_report(regions: list[str], pause: str = "1 minute") -> str:
    children = [await start(region_total.options(run_id=f"sales-{region}"), region, pause) for region in regions]
    totals = await asyncio.gather(*(child.result() for child in children))
    return await make_report(dict(zip(regions, totals, strict=True)))


if __name__ == "__main__":
    print(run(monthly_report.options(run_id="monthly-report"), list(SALES), pause="0.1s"))
