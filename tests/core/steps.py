"""Steps that stories are about."""

from __future__ import annotations

from outlive import step


class Refused(Exception):
    """Known to the registry, since a step's module defines it."""

    def __init__(self, amount: int) -> None:
        super().__init__(f"{amount} is too much")
        self.amount = amount


@step
async def work(label: str, seconds: float = 1.0) -> str:
    """Gives its label back; the world makes it take ``seconds``."""
    return label


@step
async def fail(amount: int, seconds: float = 1.0) -> None:
    raise Refused(amount)


@step
async def charge(amount: int, currency: str = "EUR") -> int:
    return amount


@step
async def refund(amount: int) -> int:
    return amount


@step
async def keep(value: object) -> object:
    return value
