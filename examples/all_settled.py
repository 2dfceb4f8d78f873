"""All settled: ``gather(return_exceptions=True)`` waits for every branch and gives failures back as values.

An exception arrives as its own type, after the step's retries are used up.
"""

from __future__ import annotations

import asyncio

from _effects import effect

from outlive import run, step, workflow


class FeedUnreachable(Exception):
    pass


@step(max_retries=1, retry_delay="0.2s")
async def fetch(feed: str) -> int:
    await asyncio.sleep(0.05)
    effect("asked", feed)
    if "broken" in feed:
        raise FeedUnreachable(f"{feed} does not answer")
    return len(feed)


@workflow
async def refresh(feeds: list[str]) -> dict[str, str]:
    outcomes = await asyncio.gather(*(fetch(feed) for feed in feeds), return_exceptions=True)
    report: dict[str, str] = {}
    for feed, outcome in zip(feeds, outcomes, strict=True):
        match outcome:
            case int():
                report[feed] = f"{outcome} entries"
            case FeedUnreachable():
                report[feed] = f"failed: {outcome}"
            case _:  # not what this workflow expects: let it fail
                raise outcome
    return report


if __name__ == "__main__":
    feeds = ["news", "broken-blog", "weather", "broken-wiki"]
    for feed, outcome in run(refresh.options(run_id="refresh-feeds"), feeds).items():
        print(f"{feed}: {outcome}")
