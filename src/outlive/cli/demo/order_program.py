"""The workflow that ``outlive demo`` kills: an order, from its arrival to its shipment.

Everything here is plain asyncio. What makes it outlive its process are the two decorators: each result of a ``@step`` is
recorded when the step ends, and a ``@workflow`` that begins again after a crash gets the recorded results instead of
calling the steps a second time.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from outlive import HookDefinition, define_hook, race, sleep, step, workflow
from outlive.cli.demo.effects import work


@dataclass
class Order:
    id: str
    item: str
    cents: int


@dataclass
class Approval:
    by: str


approval: HookDefinition[Approval] = define_hook(Approval)


@step
async def validate(order: Order) -> None:
    await work("validate", order.id, seconds=0.2)


@step
async def charge(order: Order) -> str:
    await work("charge", order.id, seconds=0.4)
    return f"receipt-{order.id}"


@step
async def reserve_stock(order: Order) -> str:
    await work("reserve_stock", order.id, seconds=0.2)
    return "shelf 7"


@step
async def print_label(order: Order) -> str:
    await work("print_label", order.id, seconds=1.4)
    return f"label-{order.id}"


@step
async def book_courier(order: Order) -> str:
    await work("book_courier", order.id, seconds=1.7)
    return "Tuesday, 9:30"


@step
async def ship(order: Order, label: str, approved_by: str) -> str:
    await work("ship", order.id, seconds=0.3)
    return f"{order.item} sent with {label}, approved by {approved_by}"


@workflow
async def fulfil(order: Order) -> dict[str, str]:
    await validate(order)
    receipt = await charge(order)

    # three steps at once; the demo kills the process while the slower two are running
    shelf, label, pickup = await asyncio.gather(reserve_stock(order), print_label(order), book_courier(order))

    # a person has a day to approve; the deadline holds even if nothing is running when it comes
    with approval.create(token=f"approve-{order.id}") as approved:
        winner, answer = await race(approval=approved, deadline=sleep("1 day"))
    if winner == "deadline":
        return {"receipt": receipt, "status": "nobody approved it in time"}

    return {"receipt": receipt, "shelf": shelf, "pickup": pickup, "status": await ship(order, label, answer.by)}
