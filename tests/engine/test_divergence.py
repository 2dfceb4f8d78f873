"""Code and log disagree: the run is parked with a report, and goes on when the code is put back (rule 9, R32)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

from outlive import Engine, NonDeterminismError, RunFailed, RunParked, sleep, step, workflow
from outlive._core.authoring import StepDecorator, WorkflowDecorator
from outlive._core.registry import Registry
from outlive.model.commands import StepOptions

from .conftest import MakeEngine
from .helpers import effects, record

Body = Callable[[], Coroutine[Any, Any, Any]]


def deploy(body: Callable[[Any], Body]) -> Registry:
    """A version of the code: its own registry with one workflow named ``flow``."""
    registry = Registry()

    steps = SimpleNamespace()
    for name in ("charge", "ship", "refund"):

        async def run(n: int, name: str = name) -> int:
            record(name, n)
            return n

        run.__qualname__ = name
        setattr(steps, name, StepDecorator(name, StepOptions(), registry)(run))
    flow = body(steps)
    flow.__qualname__ = "flow"
    WorkflowDecorator("flow", None, registry)(flow)
    registry.fingerprint = lambda: str(id(body))  # type: ignore[method-assign]  # each version is another deploy
    return registry


def original(steps: Any) -> Body:
    async def flow() -> int:
        total = await steps.charge(1)
        total += await steps.ship(2)
        await sleep(100)
        return total + await steps.charge(3)

    return flow


def other_name(steps: Any) -> Body:
    async def flow() -> int:
        total = await steps.refund(1)
        total += await steps.ship(2)
        await sleep(100)
        return total + await steps.charge(3)

    return flow


def other_order(steps: Any) -> Body:
    async def flow() -> int:
        total = await steps.ship(2)
        total += await steps.charge(1)
        await sleep(100)
        return total + await steps.charge(3)

    return flow


def other_argument(steps: Any) -> Body:
    async def flow() -> int:
        total = await steps.charge(1)
        total += await steps.ship(22)
        await sleep(100)
        return total + await steps.charge(3)

    return flow


def other_kind(steps: Any) -> Body:
    async def flow() -> int:
        await sleep(5)
        await steps.ship(2)
        await sleep(100)
        return await steps.charge(3)

    return flow


def removed(steps: Any) -> Body:
    async def flow() -> int:
        total = await steps.charge(1)
        await sleep(100)
        return total + await steps.charge(3)

    return flow


def added(steps: Any) -> Body:
    async def flow() -> int:
        total = await steps.charge(1)
        await steps.refund(9)
        total += await steps.ship(2)
        await sleep(100)
        return total + await steps.charge(3)

    return flow


def ends_early(steps: Any) -> Body:
    async def flow() -> int:
        return int(await steps.charge(1))

    return flow


CHANGES = {
    "name": (other_name, "'refund'"),
    "order": (other_order, "'ship'"),
    "argument": (other_argument, "with other arguments"),
    "kind": (other_kind, "a sleep of 5.0 s"),
    "removed": (removed, "a sleep of 100.0 s"),
    "added": (added, "'refund'"),
    "ended": (ends_early, "issued no command number 2"),
}


async def parked_by(make_engine: MakeEngine, changed: Callable[[Any], Body]) -> tuple[str, str]:
    """A run of the original code, met by the changed one: its id and the report."""
    async with make_engine(linger=0.0, registry=deploy(original)) as first:
        run = await first.start(first.registry.workflow("flow"))
        await asyncio.sleep(10)
    async with make_engine(registry=deploy(changed)) as second:
        with pytest.raises(RunParked) as parked:
            await second.await_result(run.id, None, or_parked=True)
        assert await second.get_run(run.id).status() == "parked"
    return run.id, str(parked.value)


@pytest.mark.parametrize("change", CHANGES)
async def test_changed_code_parks_with_a_readable_report(make_engine: MakeEngine, change: str) -> None:
    changed, attempted = CHANGES[change]
    _, report = await parked_by(make_engine, changed)
    assert "code and log disagree" in report
    assert "recorded:" in report
    assert attempted in report
    assert f"{__file__}:" in report
    assert effects() == [("charge", 1), ("ship", 2)]


@pytest.mark.parametrize("change", CHANGES)
async def test_the_run_goes_on_when_the_code_is_put_back(make_engine: MakeEngine, change: str) -> None:
    run, _ = await parked_by(make_engine, CHANGES[change][0])
    async with make_engine(registry=deploy(original)) as third:
        assert await third.get_run(run).result() == 6
        kinds = [event.kind for event in await third.get_run(run).events()]
    assert effects() == [("charge", 1), ("ship", 2), ("charge", 3)]
    assert kinds.count("run_parked") == kinds.count("run_unparked") == 1


async def test_r32_the_same_code_does_not_try_again_by_itself(make_engine: MakeEngine) -> None:
    run, _ = await parked_by(make_engine, other_name)
    async with make_engine(registry=deploy(other_name)) as again:
        await asyncio.sleep(100)
        kinds = [event.kind for event in await again.get_run(run).events()]
    assert kinds.count("run_parked") == 1


async def test_wake_up_tries_again_with_the_same_code(make_engine: MakeEngine) -> None:
    run, _ = await parked_by(make_engine, other_name)
    async with make_engine(registry=deploy(other_name)) as again:
        await again.get_run(run).wake_up()
        await asyncio.sleep(100)
        kinds = [event.kind for event in await again.get_run(run).events()]
    assert kinds.count("run_parked") == 2


async def test_a_parked_run_can_be_terminated(make_engine: MakeEngine) -> None:
    run, _ = await parked_by(make_engine, other_name)
    async with make_engine(worker=False) as client:
        assert await client.get_run(run).terminate("no longer needed") is True
        assert await client.get_run(run).status() == "terminated"


async def test_a_run_of_unknown_code_waits_visibly(make_engine: MakeEngine) -> None:
    async with make_engine(linger=0.0, registry=deploy(original)) as first:
        run = await first.start(first.registry.workflow("flow"))
        await asyncio.sleep(10)
    async with make_engine(registry=Registry()) as ignorant:
        await asyncio.sleep(1000)
        assert await ignorant.get_run(run.id).status() == "running"
        assert (await ignorant.get_run(run.id).info()).owner is None


@step
async def identity(n: int) -> int:
    return n


@workflow
async def never_idle() -> None:
    while True:
        await asyncio.sleep(0)


async def test_r28_a_body_that_never_comes_to_rest_is_parked(engine: Engine) -> None:
    run = await engine.start(never_idle)
    with pytest.raises(RunParked, match="never idle"):
        await engine.await_result(run.id, None, or_parked=True)
    other = await engine.start(harmless)
    assert await other.result() == 3


@workflow
async def harmless() -> int:
    return await identity(3)


@workflow
async def reads_the_clock() -> float:
    import time

    return time.time()


async def test_r29_the_guard_names_the_call_and_what_to_use(engine: Engine) -> None:
    run = await engine.start(reads_the_clock)
    with pytest.raises(RunFailed) as failed:
        await run.result()
    assert isinstance(failed.value.__cause__, NonDeterminismError)
    assert "now()" in str(failed.value.__cause__)
