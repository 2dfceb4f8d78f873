"""Steps in sequence: each result is recorded, so a run that was killed goes on behind the last finished step.

Kill it in the middle (kill -9) and start it again: the steps that were done are not done twice.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from _effects import effect

from outlive import run, step, workflow


@dataclass
class Report:
    source: str
    rows: int
    total: int


@step
async def extract(source: str) -> list[int]:
    await asyncio.sleep(0.1)
    effect("extracted", source)
    return [3, 1, 4, 1, 5, 9]


@step
def clean(rows: list[int]) -> list[int]:  # a plain function is a step too: it runs in a thread
    effect("cleaned", f"{len(rows)} rows")
    return sorted(set(rows))


@step
async def summarize(source: str, rows: list[int]) -> Report:
    await asyncio.sleep(0.1)
    effect("summarized", f"{len(rows)} rows")
    return Report(source, len(rows), sum(rows))


@step
async def publish(report: Report) -> str:
    await asyncio.sleep(0.1)
    effect("published", report.source)
    return f"https://reports.example/{report.source}?total={report.total}"


@workflow
async def pipeline(source: str) -> str:
    rows = await extract(source)
    rows = await clean(rows)
    report = await summarize(source, rows)
    return await publish(report)


if __name__ == "__main__":
    print("published at", run(pipeline.options(run_id="pipeline-sales"), "sales"))
