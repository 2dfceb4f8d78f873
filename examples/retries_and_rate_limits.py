"""Retries: any exception is tried again with growing pauses, unless the step says better.

``RetryableError(retry_after=)`` obeys a rate limit; ``FatalError`` gives up at once; ``step_id`` is the same in every
attempt and after every crash, which makes it the idempotency key for whoever takes our money.
"""

from __future__ import annotations

import asyncio

from _effects import effect

from outlive import FatalError, RetryableError, get_step_metadata, run, step, workflow


class CardDeclined(FatalError):
    pass


@step(max_retries=5, retry_delay="0.2s")
async def fetch_rate(currency: str) -> float:
    await asyncio.sleep(0.05)
    attempt = get_step_metadata().attempt
    effect("asked for the rate of", f"{currency}, attempt {attempt}")
    if attempt == 1:
        raise ConnectionError("connection reset")  # an ordinary exception: again after retry_delay
    if attempt == 2:
        raise RetryableError("429 Too Many Requests", retry_after="0.5s")  # the server says when to come back
    return 1.25


@step
async def charge(card: str, amount: float) -> str:
    await asyncio.sleep(0.05)
    key = get_step_metadata().step_id
    if card == "expired":
        effect("declined", card)
        raise CardDeclined("this card has expired")  # no retry will help
    effect("charged", f"{amount:.2f} to {card}")
    return f"receipt for {key.rsplit('/', 1)[-1]}"  # a provider that sees this key twice charges once


@workflow
async def pay(euros: float, cards: list[str]) -> str:
    rate = await fetch_rate("USD")
    for card in cards:
        try:
            return f"paid with {card}: {await charge(card, euros * rate)}"
        except CardDeclined:
            continue
    return "not paid"


if __name__ == "__main__":
    print(run(pay.options(run_id="pay-order-7"), 100.0, ["expired", "visa"]))
