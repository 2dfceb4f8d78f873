"""Workflows that are called over HTTP."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from outlive import (
    Response,
    WebhookRequest,
    create_hook,
    create_webhook,
    get_writable,
    sleep,
    step,
    workflow,
)

urls: list[str] = []
SECRETS = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_" + "A" * 40]


@dataclass
class Order:
    id: int
    items: list[str]


def genuine(headers: dict[str, str], body: bytes) -> bool:
    if body == b"explode":
        raise RuntimeError("no")
    return headers.get("x-proof") == "yes"


@step
async def tell(url: str) -> None:
    urls.append(url)


@step
async def reply(request: WebhookRequest) -> None:
    await request.respond(201, json={"got": await request.text()}, headers={"x-made-by": "a step"})


@workflow
async def echo() -> dict[str, object]:
    """Takes one request and gives it back."""
    webhook = create_webhook()
    await tell(webhook.url)
    request = await webhook
    return {"method": request.method, "query": request.query, "body": await request.body(), "headers": request.headers}


@workflow
async def three() -> list[str]:
    webhook = create_webhook(respond_with=Response(203, text="thanks", headers={"x-thanks": "yes"}))
    await tell(webhook.url)
    return [await (await webhook).text() for _ in range(3)]


@workflow
async def collect(number: int) -> list[str]:
    webhook = create_webhook()
    await tell(webhook.url)
    return sorted([await (await webhook).text() for _ in range(number)])


@workflow
async def late() -> str:
    webhook = create_webhook()
    await tell(webhook.url)
    await sleep(0.3)
    return await (await webhook).text()


@workflow
async def by_hand() -> int:
    webhook = create_webhook(respond_with="manual")
    await tell(webhook.url)
    number = 0
    async for request in webhook:
        number += 1
        if await request.text() == "end":
            await request.respond(text="from the body")
            return number
        await reply(request)
    return number


@workflow
async def never_answers() -> None:
    webhook = create_webhook(respond_with="manual", respond_within=0.2)
    await tell(webhook.url)
    await create_hook(token="end")


@workflow
async def signed() -> str:
    webhook = create_webhook(secret=SECRETS)
    await tell(webhook.url)
    return await (await webhook).text()


@workflow
async def verified() -> str:
    webhook = create_webhook(verify=genuine)
    await tell(webhook.url)
    return await (await webhook).text()


@workflow
async def disposes() -> None:
    with create_webhook() as webhook:
        await tell(webhook.url)
        await webhook
    await create_hook(token="end")


@workflow
async def named() -> object:
    """Waits on a hook whose token can be guessed."""
    return await create_hook(token="guess-me")


@workflow
async def order(order: Order) -> str:
    return f"{order.id}: {', '.join(order.items)}"


@workflow
async def fails() -> None:
    raise ValueError("as it should")


@step
async def chunks(number: int, pause: float) -> None:
    stream = get_writable("numbers")
    for value in range(number):
        await stream.write({"n": value})
        if pause:
            await asyncio.sleep(pause)
    await stream.write(b"\x00\xff")


@workflow
async def streams(number: int, pause: float = 0.0) -> int:
    await chunks(number, pause)
    return number
