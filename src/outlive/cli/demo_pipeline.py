"""The workflow that ``outlive demo`` kills: an order, from its arrival to its shipment.

Everything here is plain asyncio. What makes it outlive its process are the two decorators: each result of a ``@step`` is
recorded when the step ends, and a ``@workflow`` that begins again after a crash gets the recorded results instead of
calling the steps a second time.
"""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass

from outlive import HookDefinition, define_hook, get_step_metadata, race, sleep, step, workflow


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
    await work(order, "validate", seconds=0.2)


@step
async def charge(order: Order) -> str:
    await work(order, "charge", seconds=0.4)
    return f"receipt-{order.id}"


@step
async def reserve_stock(order: Order) -> str:
    await work(order, "reserve_stock", seconds=0.2)
    return "shelf 7"


@step
async def print_label(order: Order) -> str:
    await work(order, "print_label", seconds=1.4)
    return f"label-{order.id}"


@step
async def book_courier(order: Order) -> str:
    await work(order, "book_courier", seconds=1.7)
    return "Tuesday, 9:30"


@step
async def ship(order: Order, label: str, approved_by: str) -> str:
    await work(order, "ship", seconds=0.3)
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


async def work(order: Order, name: str, *, seconds: float) -> None:
    """Stands for an effect on the world: takes its time, and leaves two lines in a file that nobody ever rewrites."""
    write(order, name, "began")
    await asyncio.sleep(seconds)
    write(order, name, "done")


def write(order: Order, name: str, what: str) -> None:
    step_id = get_step_metadata().step_id
    line = json.dumps({"order": order.id, "step": name, "what": what, "pid": os.getpid(), "step_id": step_id})
    ledger = os.open(os.environ["OUTLIVE_DEMO_LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(ledger, line.encode() + b"\n")
    finally:
        os.close(ledger)
