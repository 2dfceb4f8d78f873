"""The workflow that ``outlive demo birthday`` serves and kills: a birthday card whose guests answer by opening a link.

Cards are made one after the other, invitations go out at once, answers are collected by tasks that nobody awaits. When the day comes
the card is sent with whatever has come in. Start it with ``outlive serve``, and call its links with any browser.
"""

from __future__ import annotations

import asyncio

from outlive import Response, Webhook, create_webhook, sleep, step, workflow
from outlive.cli.demo.effects import work

THANKS = Response(text="Thank you! It is on the card.\n")


@step
async def write_verse(name: str) -> str:
    await work("write_verse", name, seconds=0.2)
    return f"Roses are red, {name} is great"


@step
async def draw_card(verse: str) -> str:
    await work("draw_card", verse, seconds=0.3)
    return f"[{verse}]"


@step
async def invite(guest: str, link: str) -> dict[str, str]:
    """Stands for an e-mail: the demo reads the link from its result, as a guest reads it from the letter."""
    await work(f"invite {guest}", guest, seconds=0.2)
    return {"guest": guest, "link": link}


@step
async def note_answer(guest: str, wish: str) -> str:
    await work(f"note {guest}", wish, seconds=0.6)
    return f"{guest}: {wish}"


@step
async def send_card(name: str, lines: list[str]) -> str:
    await work("send_card", name, seconds=0.2)
    return "\n".join([f"Dear {name}", *lines])


@workflow
async def birthday_card(name: str, guests: list[str], days: float = 30) -> str:
    card = await draw_card(await write_verse(name))
    wishes: list[str] = []

    async def collect(guest: str, invitation: Webhook) -> None:
        request = await invitation
        wishes.append(await note_answer(guest, request.query.get("wish", "")))

    invitations = {guest: create_webhook(respond_with=THANKS) for guest in guests}
    for guest, invitation in invitations.items():
        asyncio.create_task(collect(guest, invitation))  # noqa: RUF006  # nobody awaits it; the run keeps it alive
    await asyncio.gather(*(invite(guest, webhook.url) for guest, webhook in invitations.items()))

    await sleep(days * 86_400)
    return await send_card(name, [card, *sorted(wishes)])
