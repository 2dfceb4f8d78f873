"""What type checkers infer of the public surface: nothing needs a cast.

This file is checked and never run.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, assert_type
from uuid import UUID

import outlive
from outlive import (  # fmt: skip
    Engine,
    Hook,
    HookDefinition,
    Run,
    RunInfo,
    RunStatus,
    Step,
    Workflow,
    create_hook,
    define_hook,
    race,
    run,
    sleep,
    start,
    step,
    workflow,
)


@dataclass
class Order:
    id: str
    total: int


@step
async def validate(order: Order) -> bool:
    return order.total > 0


@step
def charge(order: Order, *, currency: str = "EUR") -> str:
    return order.id + currency


@step(max_retries=5, retry_delay="1s", timeout=timedelta(seconds=30), name="ship")
async def ship(order: Order) -> int:
    return len(order.id)


@step(at_most_once=True)
def notify(text: str) -> None:
    del text


class Shop:
    @step
    async def reserve(self, order: Order, count: int) -> list[str]:
        return [order.id] * count

    @step(timeout=10)
    def restock(self, name: str) -> float:
        return float(len(name))


@workflow
async def pipeline(order: Order, retries: int = 3) -> str:
    return order.id * retries


@workflow(name="nightly", version="2")
async def nightly() -> None: ...


async def decorated_functions_keep_their_signatures(order: Order) -> None:
    assert_type(await validate(order), bool)
    assert_type(await charge(order, currency="USD"), str)
    assert_type(await ship(order), int)
    assert_type(await notify("shipped"), None)
    assert_type(await pipeline(order, retries=1), str)
    coroutine: Coroutine[Any, Any, str] = pipeline(order)
    assert_type(await coroutine, str)
    assert_type(await nightly(), None)


async def methods_lose_their_self(shop: Shop, order: Order) -> None:
    assert_type(await shop.reserve(order, 2), list[str])
    assert_type(await shop.restock("tea"), float)
    assert_type(await Shop.reserve(shop, order, 2), list[str])


async def options_change_no_type(order: Order) -> None:
    assert_type(await ship.options(max_retries=0, timeout="1m")(order), int)
    assert_type(await charge.options(retry_delay=2.5)(order), str)
    assert_type(await pipeline.options(run_id="nightly", tags=["eu"])(order), str)


async def coroutines_compose_with_asyncio(order: Order) -> None:
    assert_type(await asyncio.gather(validate(order), charge(order), ship(order)), tuple[bool, str, int])
    async with asyncio.TaskGroup() as group:
        validated = group.create_task(validate(order))
        shipped = group.create_task(pipeline(order))
        slept = group.create_task(sleep("1s", 3))
    assert_type(validated.result(), bool)
    assert_type(shipped.result(), str)
    assert_type(slept.result(), int)
    assert_type(await asyncio.wait_for(ship(order), 5), int)


async def runs_carry_their_result(engine: Engine, order: Order) -> None:
    handle = await engine.start(pipeline, order, retries=2)
    assert_type(handle, Run[str])
    assert_type(await handle.result(timeout=5), str)
    run_id: str = handle.id
    assert_type(engine.get_run(run_id), Run[Any])
    assert_type(await handle.status(), RunStatus)
    assert_type(await handle.cancel(), bool)
    assert_type(await handle.info(), RunInfo)
    assert_type(await start(nightly), Run[None])
    assert_type(await start(pipeline.options(run_id="a"), order), Run[str])
    assert_type(await engine.list_runs(status="running"), list[RunInfo])
    assert_type(run(pipeline, order), str)
    assert_type(run(pipeline.options(run_id="a"), order, 5), str)


async def sleeps_and_races(order: Order) -> None:
    assert_type(await sleep(1), None)
    assert_type(await sleep("1 day", "late"), str)
    assert_type(await race(validate(order), ship(order)), bool | int)
    assert_type(await race(charge(order), sleep("30s", None)), str | None)
    assert_type(await race(validate(order), charge(order), ship(order), sleep(1)), bool | str | int | None)
    assert_type(await race(paid=charge(order), deadline=sleep("1 day")), tuple[str, Any])
    assert_type(await race(*[ship(order), ship(order)]), int)


approval: HookDefinition[Order] = define_hook(Order)


async def hooks_say_what_they_receive(order: Order) -> None:
    hook = create_hook(Order, token="approve")
    assert_type(hook, Hook[Order])
    assert_type(await hook, Order)
    assert_type(await hook.receive(), Order)
    assert_type(await hook.conflict(), str | None)
    assert_type(await race(hook, sleep("1 day", 0)), Order | int)
    async for received in hook:
        assert_type(received, Order)
    with create_hook(int) as counted:
        assert_type(await counted, int)
    assert_type(create_hook(), Hook[Any])
    assert_type(approval.create(token="approve"), Hook[Order])
    assert_type(await approval.resume("approve", order), None)


def recorded_values() -> None:
    assert_type(outlive.now(), datetime)
    assert_type(outlive.uuid4(), UUID)
    assert_type(outlive.rng(), random.Random)
    assert_type(outlive.patched("discount"), bool)
    assert_type(outlive.get_workflow_metadata().started_at, datetime)
    assert_type(outlive.get_step_metadata().attempt, int)


def decorators_give_classes_that_can_be_named(engine: Engine) -> None:
    a_step: Step[[Order], bool] = validate
    a_workflow: Workflow[[], None] = nightly
    opened: AbstractAsyncContextManager[Engine] = engine
    del a_step, a_workflow, opened
