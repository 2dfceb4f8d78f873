"""Workflows that are called over HTTP."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import Final

from outlive import (
    Response,
    WebhookRequest,
    create_hook,
    create_webhook,
    get_step_metadata,
    get_writable,
    sleep,
    step,
    workflow,
)

urls: list[str] = []
LETTERS: Final = "OUTLIVE_TEST_LETTERS"
"""The variable that names a file for URLs, where the tests run in another process."""
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
    if LETTERS in os.environ:
        with open(os.environ[LETTERS], "a") as letters:
            print(url + "", file=letters, flush=True)


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


@workflow
async def keeps_all() -> list[str]:
    """Everything that it is sent, until the end."""
    webhook = create_webhook()
    await tell(webhook.url)
    kept: list[str] = []
    async for request in webhook:
        text = await request.text()
        if text == "end":
            break
        kept.append(text)
    return kept


@step
async def stalls() -> None:
    stream = get_writable("numbers")
    await stream.write({"n": 0})
    await stream.flush()
    await asyncio.sleep(3_600)


@workflow
async def idles() -> None:
    await stalls()


@step(max_retries=1, retry_delay=0)
async def fails_once() -> None:
    stream = get_writable("numbers")
    attempt = get_step_metadata().attempt
    for value in range(3):
        await stream.write([attempt, value])
    await stream.flush()
    if attempt == 1:
        raise ValueError("once more")


@workflow
async def retries() -> None:
    await fails_once()


@step
async def floods(number: int, size: int) -> None:
    stream = get_writable("numbers")
    for _ in range(number):
        await stream.write(b"x" * size)


@workflow
async def flood(number: int, size: int) -> None:
    await floods(number, size)
