"""A differential oracle: any program does in a workflow what it does on plain asyncio, hot, evicted and crashed."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from outlive import Engine, HookNotFound, Run, create_hook, workflow
from outlive._core.guard import Guard, GuardMode
from outlive._core.waiting import Durable
from outlive._runtime.replaying import replay
from outlive.model.events import Recorded
from outlive.model.records import REF_TRANSITIONS, RefStatus
from outlive.stores.memory import MemoryStore
from outlive.testing.clock import VirtualTimeLoop, virtual_options
from outlive.testing.crash import kill

from .programs import Node, Play, programs, tried_three_times, work_at_the_third_try

EXAMPLES = int(os.environ.get("OUTLIVE_ORACLE", "200"))


@workflow
async def played(program: Node, pace: float) -> list[str]:
    return await Play(create_hook(token="hook"), work_at_the_third_try, pace).all_of(program)


@dataclass(frozen=True)
class World:
    """What comes from outside, and when: payloads, one request to cancel, and the deaths of workers."""

    payloads: tuple[float, ...] = ()
    cancel: float | None = None
    deaths: tuple[float, ...] = ()


# no two things at one moment: fractions that no sum of the programs' has
moments = st.integers(0, 30)
worlds = st.builds(
    World,
    payloads=st.lists(moments.map(lambda n: n + 0.0123456), max_size=4, unique=True).map(
        lambda some: tuple(sorted(some))
    ),
    cancel=st.none() | moments.map(lambda n: n + 0.5654321),
)
deadly_worlds = st.builds(
    World,
    payloads=st.lists(moments.map(lambda n: n + 0.0123456), max_size=4, unique=True).map(
        lambda some: tuple(sorted(some))
    ),
    cancel=st.none() | moments.map(lambda n: n + 0.5654321),
    deaths=st.lists(moments.map(lambda n: n + 0.7172737), min_size=1, max_size=3, unique=True).map(
        lambda some: tuple(sorted(some))
    ),
)


# --- on plain asyncio ---


class PlainHook:
    """A hook without an engine: payloads are kept, and each goes to one receiver, in order (R2, R18)."""

    def __init__(self) -> None:
        self._kept: deque[int] = deque()
        self._waiting: deque[asyncio.Future[int]] = deque()

    def give(self, payload: int, *, first: bool = False) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(payload)
                return
        if first:
            self._kept.appendleft(payload)
        else:
            self._kept.append(payload)

    def receive(self) -> Durable[int]:
        given: list[int] = []
        return Durable(self._receive(given), lambda: self.give(given.pop(), first=True) if given else None)

    def __await__(self) -> Any:
        return self.receive().__await__()

    async def _receive(self, given: list[int]) -> int:
        if self._kept:
            given.append(self._kept.popleft())
            return given[0]
        waiter: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            given.append(await waiter)
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.give(waiter.result(), first=True)
            raise
        return given[0]


async def on_plain_asyncio(program: Node, world: World, pace: float = 1.0) -> list[str]:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    hook = PlainHook()
    main = loop.create_task(Play(hook, tried_three_times, pace).all_of(program))
    for number, at in enumerate(world.payloads):
        loop.call_at(begun + at, hook.give, number)
    if world.cancel is not None:
        loop.call_at(begun + world.cancel, main.cancel)
    told = list(await main)
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
    return told


# --- on the engine ---


class Lives:
    """One engine after another on one store."""

    def __init__(self, *, evicted: bool) -> None:
        self.loop = asyncio.get_running_loop()
        assert isinstance(self.loop, VirtualTimeLoop)
        self.store = MemoryStore(clock=self.loop.clock)
        self._options = virtual_options(replay_always=evicted)
        self.engine: Engine

    async def begin(self) -> None:
        assert isinstance(self.loop, VirtualTimeLoop)
        self.engine = Engine(
            store=self.store, clock=self.loop.clock, guard="cheap", shutdown_grace=0, options=self._options
        )
        await self.engine.open()


async def on_the_engine(
    program: Node, world: World, *, evicted: bool = False, pace: float = 1.0, calm: list[float] | None = None
) -> list[str]:
    """``calm``: filled with moments, from the beginning, at which nothing is in flight and every wait is recorded."""
    lives = Lives(evicted=evicted)
    await lives.begin()
    run = await lives.engine.start(played.options(run_id="run"), program, pace)
    loop, begun = asyncio.get_running_loop(), asyncio.get_running_loop().time()

    async def at(when: float, act: Callable[[], Coroutine[Any, Any, object]]) -> None:
        await asyncio.sleep(begun + when - loop.time())
        await act()

    async def pay(number: int) -> None:
        try:
            await lives.engine.resume_hook("hook", number)
        except HookNotFound:
            pass  # the run is over

    async def die() -> None:
        await kill(lives.engine)
        await lives.begin()

    coming = [at(when, lambda number=number: pay(number)) for number, when in enumerate(world.payloads)]  # type: ignore[misc]
    if world.cancel is not None:
        coming.append(at(world.cancel, lambda: lives.engine.get_run("run").cancel()))
    coming += [at(when, die) for when in world.deaths]
    # deaths and what comes from outside take turns, so that nobody asks a dead engine
    await asyncio.gather(*coming)
    result = await lives.engine.get_run(run.id).result(timeout=100_000)
    log = await lives.store.log(run.id, 1)
    if calm is not None:
        calm += calm_moments(log)
    await well_formed(lives, run, log)
    await lives.engine.close()
    return result


def calm_moments(log: Sequence[Recorded]) -> list[float]:
    """In the middle of long pauses. A wait is recorded a second after its issue (R16), and a retry when it is decided."""
    begun = log[0].time
    busy = sorted((recorded.time - begun, recorded.time - begun) for recorded in log)
    for recorded in log:
        started = getattr(recorded.event, "started", None)
        if started is not None:
            busy.append((started - begun, recorded.time - begun))
    calm: list[float] = []
    until = 0.0
    for start, end in sorted(busy):
        if start - until > 2.5:
            calm.append((until + 1.25 + start) / 2)
        until = max(until, end)
    return calm


async def well_formed(lives: Lives, run: Run[list[str]], log: Sequence[Recorded]) -> None:
    """The log is dense, ends once, no ref ends twice, and today's code replays it."""
    assert [recorded.seq for recorded in log] == list(range(1, len(log) + 1))
    assert [recorded.time for recorded in log] == sorted(recorded.time for recorded in log)
    status: dict[int, RefStatus] = {}
    for recorded in log:
        if ref := recorded.event.ref:
            after = REF_TRANSITIONS[status.get(ref, RefStatus.UNSEEN)].get(type(recorded.event))
            assert after is not None, f"{recorded.event} after {status.get(ref)}"
            status[ref] = after
    assert await lives.store.audit() == []
    verdict = await asyncio.to_thread(
        replay,
        log,
        run=run.id,
        link=1,
        workflow=played,
        codec=lives.engine.codec,
        guard=Guard(GuardMode.OFF),
        make_handle=lives.engine.get_run,
    )
    assert verdict.divergence is None


def virtually(main: Coroutine[Any, Any, list[str]]) -> list[str]:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)


def same(told: Sequence[str]) -> list[str]:
    """What happens at one moment (two steps are cancelled by one timeout) has its order from the log alone."""
    return sorted(told)


SETTINGS = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@pytest.mark.slow
@SETTINGS
@given(program=programs, world=worlds)
def test_a_workflow_does_what_asyncio_does(program: Node, world: World) -> None:
    note(str(program))
    expected = same(virtually(on_plain_asyncio(program, world)))
    assert same(virtually(on_the_engine(program, world))) == expected, "hot"
    assert same(virtually(on_the_engine(program, world, evicted=True))) == expected, "evicted at every event"


@pytest.mark.slow
@SETTINGS
@given(program=programs, world=deadly_worlds)
def test_a_workflow_whose_workers_die_comes_to_an_end_that_its_log_explains(program: Node, world: World) -> None:
    """A step in flight begins anew, so what is late may be another; but a log is a log."""
    note(str(program))
    virtually(on_the_engine(program, world))


QUICK = 0.01


@pytest.mark.slow
@SETTINGS
@given(program=programs, world=worlds, which=st.sets(st.integers(0, 9), min_size=1, max_size=4))
def test_deaths_in_calm_moments_change_nothing(program: Node, world: World, which: set[int]) -> None:
    """No step is in flight and every wait is recorded, so there is nothing that a new life could do otherwise."""
    note(str(program))
    expected = same(virtually(on_plain_asyncio(program, world, QUICK)))
    calm: list[float] = []
    assert same(virtually(on_the_engine(program, world, pace=QUICK, calm=calm))) == expected
    deaths = tuple(moment for number, moment in enumerate(calm) if number in which)
    note(f"deaths at {deaths}")
    deadly = World(world.payloads, world.cancel, deaths)
    assert same(virtually(on_the_engine(program, deadly, pace=QUICK))) == expected
