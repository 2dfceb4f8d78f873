"""Steps in parallel: ``asyncio.gather`` for many of a kind, ``asyncio.TaskGroup`` for a few that belong together.

Whichever branch ends first, after any crash each gets its own result back.
"""

from __future__ import annotations

import asyncio

from _effects import effect

from outlive import run, step, workflow

CHAPTERS = {
    "loomings": "call me ishmael",
    "the carpet-bag": "i stuffed a shirt or two",
    "the spouter-inn": "entering that",
}


@step
async def count_words(chapter: str) -> int:
    await asyncio.sleep(0.1 + len(chapter) / 50)
    effect("counted", chapter)
    return len(CHAPTERS[chapter].split())


@step
async def draw_cover(title: str) -> str:
    await asyncio.sleep(0.3)
    effect("drew a cover for", title)
    return f"{title}.png"


@step
async def write_blurb(title: str, words: int) -> str:
    await asyncio.sleep(0.1)
    effect("wrote a blurb for", title)
    return f"{title}, in only {words} words"


@workflow
async def make_book(title: str, chapters: list[str]) -> tuple[str, str]:
    counts = await asyncio.gather(*(count_words(chapter) for chapter in chapters))

    async with asyncio.TaskGroup() as group:  # if one of them fails, the other is cancelled
        cover = group.create_task(draw_cover(title))
        blurb = group.create_task(write_blurb(title, sum(counts)))
    return cover.result(), blurb.result()


if __name__ == "__main__":
    cover, blurb = run(make_book.options(run_id="book-whale"), "The Whale", list(CHAPTERS))
    print(f"{blurb} (cover: {cover})")
