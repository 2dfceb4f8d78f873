"""Deadlines, in two ways: ``race`` against a sleep lets what is late run on; ``asyncio.timeout`` cancels it.

A deadline is a durable timer: it holds through crashes, and which side won is recorded.
"""

from __future__ import annotations

import asyncio

from _effects import effect

from outlive import race, run, sleep, step, workflow

SECONDS = {"headlines": 0.1, "weather": 0.2, "horoscope": 1.0, "crossword": 60.0}


@step
async def fetch(section: str) -> str:
    effect("asked for the", section)
    await asyncio.sleep(SECONDS[section])
    return f"the {section}"


@step
async def print_page(sections: list[str]) -> None:
    effect("printed", ", ".join(sections))


@workflow
async def front_page(patience: str = "30s", for_horoscope: str = "5s", for_crossword: float = 10) -> list[str]:
    headlines, weather, horoscope = await asyncio.gather(
        race(fetch("headlines"), sleep(patience, "timeout")),
        race(fetch("weather"), sleep(patience, "timeout")),
        race(fetch("horoscope"), sleep(for_horoscope, "timeout")),  # comes too late: its result is dropped
    )
    try:
        async with asyncio.timeout(for_crossword):
            crossword = await fetch("crossword")  # takes too long: it is cancelled, and has ended when we go on
    except TimeoutError:
        crossword = "no crossword today"
    page = [headlines, weather, horoscope, crossword]
    await print_page(page)
    return page


if __name__ == "__main__":
    page = run(front_page.options(run_id="front-page"), for_horoscope="0.3s", for_crossword=0.3)
    print("page:", " | ".join(page))
