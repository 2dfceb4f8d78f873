"""A digest every day, for years: ``continue_as_new`` ends one link of the run and begins the next with an empty log.

The id stays the same, so whoever waits for the result of the run waits for the last link's.
"""

from __future__ import annotations

import asyncio

from _effects import effect

from outlive import continue_as_new, run, sleep, step, workflow


@step
async def collect_headlines(day: int) -> list[str]:
    await asyncio.sleep(0.05)
    effect("collected the headlines of", f"day {day}")
    return [f"day {day}: {what}" for what in ("all quiet", "still quiet")][: 1 + day % 2]


@step
async def send_digest(reader: str, headlines: list[str]) -> None:
    await asyncio.sleep(0.05)
    effect("sent", f"{reader} {len(headlines)} headlines, {headlines[0]!r} first")


@workflow
async def daily_digest(reader: str, days: int = 365, every: str = "1 day", day: int = 1, sent: int = 0) -> str:
    headlines = await collect_headlines(day)
    await send_digest(reader, headlines)
    sent += len(headlines)
    if day < days:
        await sleep(every)
        continue_as_new(reader, days, every, day + 1, sent)
    return f"{reader} got {sent} headlines in {days} days"


if __name__ == "__main__":
    print(run(daily_digest.options(run_id="digest-for-ada"), "Ada", days=3, every="0.2s"))
