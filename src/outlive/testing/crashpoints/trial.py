"""One performance of a scenario, in virtual time, with deaths at chosen commits; and what is left of it."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import random
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from outlive._runtime.attempts import Attempt
from outlive._runtime.options import WorkerOptions
from outlive.engine import Engine
from outlive.errors import ExecutionError
from outlive.model import events as ev
from outlive.model.ids import RunId, step_id
from outlive.stores.memory import MemoryStore
from outlive.stores.protocol import RunFilter, Store
from outlive.stores.sqlite import SQLiteStore
from outlive.testing.clock import VirtualClock, VirtualTimeLoop
from outlive.testing.crash import kill
from outlive.testing.crashpoints.client import Client
from outlive.testing.crashpoints.store import CrashPoint, MortalStore

Scene: TypeAlias = Callable[[Client], Awaitable[object]]
"""What happens: starts runs, plays whoever is outside, and gives what is to be the same however often an engine dies."""

StoreMaker: TypeAlias = Callable[[VirtualClock], Awaitable[Store]]
"""Opens an empty store, which all lives of one performance share."""

StoreKind: TypeAlias = Literal["memory", "sqlite"]

PATIENCE: Final = 4e8
"""Virtual seconds after which a scenario that has not ended is taken for hung."""
ALL: Final = RunFilter(limit=1_000_000)


class Begun(Struct, frozen=True):
    """An attempt of a step began."""

    life: int
    step: str
    attempt: int
    at_most_once: bool


class Death(Struct, frozen=True):
    """What was in the store as a life ended."""

    recorded: frozenset[str]
    """Steps that had ended for good."""
    tried: frozenset[tuple[str, int]]
    """Attempts whose end was recorded, whatever it was."""


class Trace(Struct, frozen=True, kw_only=True):
    """What is left of a performance."""

    outcome: object
    logs: dict[tuple[RunId, int], list[ev.Recorded]]
    begun: list[Begun]
    deaths: list[Death]
    commits: tuple[int, ...]
    """Of each life."""
    audit: list[str]


class _Life:
    def __init__(self, number: int, engine: Engine, store: MortalStore, over: asyncio.Future[None]) -> None:
        self.number = number
        self.engine = engine
        self.store = store
        self.over = over


class _World:
    """A store, and one engine on it after the other."""

    def __init__(
        self,
        kind: StoreKind | StoreMaker,
        folder: Path,
        clock: VirtualClock,
        points: Sequence[CrashPoint],
        options: WorkerOptions,
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._points = list(points)
        self._options = options
        self._kind = kind
        self._shared: Store | None = MemoryStore(clock=clock) if kind == "memory" else None
        self._changed = asyncio.Event()
        self.life: _Life | None = None
        self.lives: list[_Life] = []
        self.begun: list[Begun] = []
        self.deaths: list[Death] = []

    async def alive(self) -> _Life:
        while self.life is None or self.life.over.done():
            self._changed.clear()
            await self._changed.wait()
        return self.life

    async def begin(self) -> None:
        """The next life."""
        inner = await self._open_store()
        if self.lives:
            self.deaths.append(_death(await read_logs(inner)))
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        dies = self._points[len(self.lives)] if len(self.lives) < len(self._points) else None
        store = MortalStore(inner, dies=dies, on_death=lambda: over.set_result(None))
        engine = Engine(store=store, clock=self._clock, guard="strict", shutdown_grace=0, options=self._options)
        life = _Life(len(self.lives) + 1, engine, store, over)
        await engine.open()
        self._watch(life)
        self.lives.append(life)
        self.life = life
        self._changed.set()

    async def keep_alive(self) -> None:
        """After each death, the next life."""
        while True:
            life = await self.alive()
            await asyncio.wait({life.over})
            await _bury(life)
            self.life = None
            await self.begin()

    async def _open_store(self) -> Store:
        if self._shared is None and callable(self._kind):
            self._shared = await self._kind(self._clock)
        if self._shared is not None:
            return self._shared
        store = SQLiteStore(self._folder / "runs.db", clock=self._clock, durability="process")
        await store.open()
        return store

    def _watch(self, life: _Life) -> None:
        """Note every attempt that begins in ``life``; it reaches into the engine, which has no need to be watched otherwise."""
        worker = life.engine.worker
        assert worker is not None, "an open engine has a worker"
        worker._random = random.Random(0)  # retries pause equally long in every trial
        executor, context_of = worker.executor, worker.executor._context

        def beginning(attempt: Attempt) -> contextvars.Context:
            if not life.store.dead:
                once = attempt.call.options.at_most_once
                self.begun.append(Begun(life.number, attempt.step_id, attempt.number, once))
            return context_of(attempt)

        executor._context = beginning  # type: ignore[method-assign]  # see above


async def _bury(life: _Life) -> None:
    journal = life.engine.journal
    journal._closed = journal._down = True
    if journal._task is not None:
        journal._task.cancel()  # the commit that is never answered
    await kill(life.engine)


def perform(
    scene: Scene,
    points: Sequence[CrashPoint],
    *,
    store: StoreKind | StoreMaker,
    folder: Path,
    options: WorkerOptions,
) -> Trace:
    """Play ``scene`` to its end; the n-th life ends at the n-th of ``points``."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualTimeLoop), "the factory's loop is virtual"
        return runner.run(_perform(scene, points, store, folder, options, loop.clock))


async def _perform(
    scene: Scene,
    points: Sequence[CrashPoint],
    store: StoreKind | StoreMaker,
    folder: Path,
    options: WorkerOptions,
    clock: VirtualClock,
) -> Trace:
    world = _World(store, folder, clock, points, options)
    await world.begin()
    keeper = asyncio.create_task(world.keep_alive())
    client = Client(world.alive)
    try:
        playing = asyncio.ensure_future(_outcome(scene, client))
        async with asyncio.timeout(PATIENCE):
            await asyncio.wait({playing, keeper}, return_when=asyncio.FIRST_COMPLETED)
            if not playing.done():
                await keeper
            outcome = playing.result()
            await client.ask(_all_ended)
    except TimeoutError:
        outcome = f"hangs: {await client.ask(_stories)}"
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
    life = await world.alive()
    inner = life.store.inner
    trace = Trace(
        outcome=outcome,
        logs=await read_logs(inner),
        begun=world.begun,
        deaths=world.deaths,
        commits=tuple(each.store.commits for each in world.lives),
        audit=await inner.audit(),
    )
    await life.engine.close()
    await life.store.close()
    if callable(store):
        await inner.close()
    return trace


async def _outcome(scene: Scene, client: Client) -> object:
    try:
        return await scene(client)
    except ExecutionError as error:
        cause = error.__cause__
        return f"{type(error).__name__}, {type(cause).__name__}: {cause}"


async def _all_ended(engine: Engine) -> None:
    """Children and whoever else was started come to their ends too."""
    for record in await engine.store.runs(ALL):
        with contextlib.suppress(ExecutionError):
            await engine.await_result(record.id, None, or_parked=True)


async def _stories(engine: Engine) -> str:
    logs = await read_logs(engine.store)
    return "\n".join(f"{run}/{link}: {tell(log)}" for (run, link), log in logs.items())


def tell(log: Sequence[ev.Recorded]) -> str:
    """A log on one line."""
    return " ".join(f"{ev.kind_of(item.event)}" + (f"({item.event.ref})" if item.event.ref else "") for item in log)


async def read_logs(store: Store) -> dict[tuple[RunId, int], list[ev.Recorded]]:
    """Every link of every run."""
    return {
        (record.id, link): await store.log(record.id, link)
        for record in sorted(await store.runs(ALL), key=lambda record: record.id)
        for link in range(1, record.link + 1)
    }


def _death(logs: dict[tuple[RunId, int], list[ev.Recorded]]) -> Death:
    recorded: set[str] = set()
    tried: set[tuple[str, int]] = set()
    for (run, link), log in logs.items():
        for item in log:
            event = item.event
            if isinstance(event, (ev.StepCompleted, ev.StepFailed, ev.StepCancelled, ev.StepRetrying)):
                step = step_id(run, link, event.ref, event.name)
                tried.add((step, event.attempt))
                if not isinstance(event, ev.StepRetrying):
                    recorded.add(step)
    return Death(frozenset(recorded), frozenset(tried))
