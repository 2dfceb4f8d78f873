"""A thousand items, twenty at a time: an ``asyncio.Semaphore`` made inside the body bounds the parallelism.

Killed anywhere, it goes on with the items that are not done.
"""

from __future__ import annotations

import asyncio
import logging

from _effects import effect

from outlive import get_logger, run, step, workflow

log = get_logger("thumbnails")


@step
async def make_thumbnail(photo: int) -> int:
    await asyncio.sleep(0.005)
    effect("made thumbnail", photo, quiet=True)
    return photo % 7


@workflow
async def make_thumbnails(photos: int, at_once: int = 20) -> int:
    slots = asyncio.Semaphore(at_once)
    done = 0

    async def bounded(photo: int) -> int:
        nonlocal done
        async with slots:
            size = await make_thumbnail(photo)
        done += 1
        if done % 100 == 0:
            log.info("%d of %d", done, photos)  # once: this logger is silent on replay
        return size

    return sum(await asyncio.gather(*(bounded(photo) for photo in range(photos))))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="  %(message)s")
    print("total size:", run(make_thumbnails.options(run_id="thumbnails"), 1_000))
