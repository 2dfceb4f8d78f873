"""A film rendered frame by frame, by whoever serves the queue: here this process, on other machines with outlive worker --queues render."""

from __future__ import annotations

import asyncio

from _effects import effect

from outlive import run, step, workflow


@step(queue="render", max_retries=5, retry_delay=0.1)
async def render(film: str, frame: int) -> str:
    effect("rendered", f"{film} {frame}")
    await asyncio.sleep(0.02)  # stands for minutes on a graphics card
    return f"{film}-{frame:03}.png"


@step(executor="process")
def join(film: str, frames: list[str]) -> str:
    """In a process of its own: it keeps a CPU busy for a while."""
    effect("joined", f"{film} of {len(frames)} frames")
    return f"{film}.mp4"


@workflow
async def make_film(film: str, frames: int) -> str:
    trailer = render.options(priority=-1)  # somebody waits for it
    first = await asyncio.gather(*(trailer(film, frame) for frame in range(3)))
    rest = await asyncio.gather(*(render(film, frame) for frame in range(3, frames)))
    return await join(film, [*first, *rest])


if __name__ == "__main__":
    print(run(make_film.options(run_id="film"), "whales", 12))
