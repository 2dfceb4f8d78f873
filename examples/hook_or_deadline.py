"""A race of a hook against a sleep: wait for a person, but not for ever.

The script also plays the editor, who approves one article and never looks at the other.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from _effects import effect

from outlive import Engine, HookNotFound, define_hook, race, sleep, step, workflow


@dataclass
class Verdict:
    editor: str
    approved: bool


verdict = define_hook(Verdict)


@step
async def ask_for_review(article: str, token: str) -> None:
    effect("asked for a review of", f"{article} (answer to {token})")


@step
async def publish(article: str, approved_by: str) -> None:
    effect("published", f"{article}, approved by {approved_by}")


@workflow
async def review(article: str, patience: str = "2 days") -> str:
    with verdict.create(token=f"review:{article}") as answer:
        await ask_for_review(article, answer.token)
        outcome, value = await race(answer=answer, deadline=sleep(patience))
    if outcome == "deadline":
        return f"{article}: nobody looked at it"
    if not value.approved:
        return f"{article}: rejected by {value.editor}"
    await publish(article, value.editor)
    return f"{article}: published"


async def editor(article: str) -> None:
    """Answers as soon as there is something to answer; the key makes it one answer, however often it is sent."""
    while True:
        try:
            return await verdict.resume(f"review:{article}", Verdict("Maxwell", approved=True), idempotency_key=article)
        except HookNotFound:
            await asyncio.sleep(0.1)


async def main() -> None:
    async with Engine() as engine:
        essay = await engine.start(review.options(run_id="review-essay"), "essay")
        poem = await engine.start(review.options(run_id="review-poem"), "poem", patience="1s")
        maxwell = asyncio.create_task(editor("essay"))
        print(await essay.result())
        print(await poem.result())
        maxwell.cancel()


if __name__ == "__main__":
    asyncio.run(main())
