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
from outlive._runtime import versions
from outlive.model.ids import RunId
from outlive.model.steps import StepOptions

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


# --- R22, R23: another process, another Python -------------------------------------------------------------------------


async def begun_elsewhere(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch, *, python: str | None = None, hash_seed: str | None = None
) -> str:
    """A run of the original code that sleeps, begun by a process of another kind."""
    with monkeypatch.context() as other:
        if python is not None:
            other.setattr(versions, "PYTHON", python)
        if hash_seed is not None:
            other.setattr(versions, "hash_seed", lambda: hash_seed)
        async with make_engine(linger=0.0, registry=deploy(original)) as first:
            run = await first.start(first.registry.workflow("flow"))
            await asyncio.sleep(10)
    return run.id


async def report_of(engine: Engine, run: str) -> str:
    with pytest.raises(RunParked) as parked:
        await engine.await_result(RunId(run), None, or_parked=True)
    return str(parked.value)


async def test_r23_a_run_of_another_python_goes_on_where_its_log_fits(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await begun_elsewhere(make_engine, monkeypatch, python="3.99")
    async with make_engine(registry=deploy(original)) as here:
        assert await here.get_run(run).result() == 6


async def test_r23_one_that_diverges_waits_for_its_own_python(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await begun_elsewhere(make_engine, monkeypatch, python="3.99")
    async with make_engine(registry=deploy(other_order)) as here:
        assert "parked for Python 3.99" in await report_of(here, run)
    async with make_engine(registry=deploy(original), poll=1.0) as still_here:
        await asyncio.sleep(10)
        assert await still_here.get_run(run).status() == "parked"
    with monkeypatch.context() as other:
        other.setattr(versions, "PYTHON", "3.99")
        async with make_engine(registry=deploy(original)) as there:
            assert await there.get_run(run).result() == 6


async def test_r23_whoever_wakes_it_may_try_on_any_python(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await begun_elsewhere(make_engine, monkeypatch, python="3.99")
    async with make_engine(registry=deploy(other_order)) as here:
        await report_of(here, run)
    async with make_engine(registry=deploy(original)) as still_here:
        await still_here.get_run(run).wake_up()
        assert await still_here.get_run(run).result() == 6


async def test_r22_a_divergence_under_another_hash_seed_asks_for_sets(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await begun_elsewhere(make_engine, monkeypatch, hash_seed="0badc0de")
    async with make_engine(registry=deploy(other_order)) as here:
        report = await report_of(here, run)
    assert "PYTHONHASHSEED: does the body iterate over a set of strings?" in report
    assert f"{__file__}:" in report


async def test_r22_a_worker_with_the_recorded_seed_takes_it(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await begun_elsewhere(make_engine, monkeypatch, hash_seed="0badc0de")
    async with make_engine(registry=deploy(other_order)) as here:
        await report_of(here, run)
    with monkeypatch.context() as other:
        other.setattr(versions, "hash_seed", lambda: "0badc0de")
        async with make_engine(registry=deploy(original)) as there:
            assert await there.get_run(run).result() == 6


async def test_r22_r23_a_run_records_where_it_began(make_engine: MakeEngine) -> None:
    async with make_engine(registry=deploy(original)) as engine:
        run = await engine.start(engine.registry.workflow("flow"))
        created = (await run.events())[0].data
    assert (created["engine"], created["python"]) == (versions.ENGINE, versions.PYTHON)
    assert created["hash_seed"] == versions.hash_seed()
