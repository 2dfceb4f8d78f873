"""A birthday card: made in sequence, invitations in parallel, answers collected while the workflow sleeps for weeks.

The tasks that collect the answers are never awaited. When the day comes, the card goes out with whatever has come in.
The script also plays the guests; one of them never answers.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from datetime import datetime, timedelta

from _effects import effect

from outlive import Engine, Hook, HookNotFound, define_hook, now, sleep, step, workflow


@dataclass
class Rsvp:
    coming: bool
    wish: str


rsvp = define_hook(Rsvp)


@step
async def write_verse(name: str) -> str:
    await asyncio.sleep(0.1)
    effect("wrote a verse for", name)
    return f"Roses are red, {name} is great"


@step
async def draw_card(verse: str) -> str:
    await asyncio.sleep(0.1)
    effect("drew a card saying", repr(verse))
    return f"[{verse}]"


@step
async def invite(guest: str, day: datetime, token: str) -> None:
    await asyncio.sleep(0.1)
    effect("invited", f"{guest}: the party is on {day:%-d %B}, please answer to {token}")


@step
async def note_answer(guest: str, answer: Rsvp) -> None:
    effect("noted that", f"{guest} {'comes' if answer.coming else 'does not come'}")


@step
async def send_card(name: str, card: str, wishes: list[str]) -> str:
    effect("sent the card to", name)
    return "\n".join([card, *wishes])


@workflow
async def birthday_card(name: str, guests: list[str], ahead: timedelta = timedelta(days=30)) -> str:
    verse = await write_verse(name)
    card = await draw_card(verse)

    day = now() + ahead
    wishes: list[str] = []

    async def collect(guest: str, invitation: Hook[Rsvp]) -> None:
        answer = await invitation
        await note_answer(guest, answer)
        wishes.append(f"{guest}: {answer.wish}")

    invitations = {guest: rsvp.create(token=f"rsvp:{name}:{guest}") for guest in guests}
    for guest, invitation in invitations.items():
        asyncio.create_task(collect(guest, invitation))  # noqa: RUF006  # nobody awaits it; the run keeps it alive
    await asyncio.gather(*(invite(guest, day, hook.token) for guest, hook in invitations.items()))

    await sleep(day)
    return await send_card(name, card, sorted(wishes))


async def answer(name: str, guest: str, reply: Rsvp) -> None:
    """A guest answers as soon as there is an invitation; the key makes it one answer, however often it is sent."""
    while True:
        try:
            return await rsvp.resume(f"rsvp:{name}:{guest}", reply, idempotency_key=guest)
        except HookNotFound:
            await asyncio.sleep(0.1)


async def main(ahead: timedelta) -> None:
    replies = {
        "Ben": Rsvp(coming=True, wish="Many happy returns!"),
        "Cleo": Rsvp(coming=False, wish="So sorry to miss it"),
        "Dora": Rsvp(coming=True, wish="I bring the cake"),
    }
    async with Engine() as engine:
        guests = [*replies, "Eve"]
        card = await engine.start(birthday_card.options(run_id="card-for-ada"), "Ada", guests, ahead=ahead)
        answers = [asyncio.create_task(answer("Ada", guest, reply)) for guest, reply in replies.items()]
        print(await card.result())
        for task in answers:
            task.cancel()


if __name__ == "__main__":
    asyncio.run(main(timedelta(seconds=float(sys.argv[1]) if sys.argv[1:] else 2)))
