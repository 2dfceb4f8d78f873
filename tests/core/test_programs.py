"""Random programs over steps, waits, hooks and asyncio's primitives: hot, evicted and crashed runs are one (A2, A6, A9)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TypeAlias

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outlive import create_hook, now, race, sleep, uuid4
from outlive._core.hooks import Hook
from outlive.errors import OutliveError
from tests.core.simulate import World, simulate
from tests.core.steps import Refused, fail, refund, work


@dataclass(frozen=True)
class Node:
    """A piece of a program: what it is, how long it takes, and what it is made of."""

    kind: str
    seconds: float = 0.0
    parts: tuple[Node, ...] = ()

    def __repr__(self) -> str:
        inside = ", ".join([*([f"{self.seconds:g}"] if self.seconds else []), *map(repr, self.parts)])
        return f"{self.kind}({inside})"


LEAVES = ("step", "step", "step", "sleep", "asyncio_sleep", "hook", "hook", "failing", "yields", "time", "chance")
PAIRS = (
    "sequence",
    "gather",
    "settled",
    "group",
    "race",
    "named_race",
    "wait_first",
    "as_completed",
    "background",
    "locked",
)
SINGLES = ("timeout", "wait_for", "shield", "caught", "cleaned", "cancelled", "task", "generator")

moments = st.integers(0, 8).map(float)
pieces: st.SearchStrategy[Node] = st.recursive(
    st.builds(Node, st.sampled_from(LEAVES), moments),
    lambda inner: st.one_of(
        st.builds(Node, st.sampled_from(PAIRS), moments, st.lists(inner, min_size=2, max_size=4).map(tuple)),
        st.builds(Node, st.sampled_from(SINGLES), moments, inner.map(lambda node: (node,))),
    ),
    max_leaves=8,
)
programs = st.builds(
    Node, st.sampled_from(["sequence", "settled"]), st.just(0.0), st.lists(pieces, min_size=2, max_size=3).map(tuple)
)
worlds = st.builds(
    World,
    lingers=st.sampled_from([0.0, 1.0, 9.0]),
    payloads=st.lists(st.tuples(moments, st.integers()), max_size=3).map(lambda some: tuple(sorted(some))),
    cancels=st.lists(moments, max_size=1).map(tuple),
)

Told: TypeAlias = list[str]


class Run:
    """Interprets a program; ``told`` is what it saw, in the order in which it saw it."""

    def __init__(self) -> None:
        self.told: Told = []
        self.hook: Hook[object] = create_hook()
        self.lock = asyncio.Lock()

    async def do(self, node: Node) -> str:
        answer = await getattr(self, f"do_{node.kind}")(node)
        self.told.append(f"{node.kind}={answer}")
        return str(answer)

    # --- leaves ---

    async def do_step(self, node: Node) -> str:
        return await work("step", node.seconds)

    async def do_failing(self, node: Node) -> str:
        await fail(1, node.seconds)
        return "never"

    async def do_sleep(self, node: Node) -> str:
        return await sleep(node.seconds, "slept")

    async def do_asyncio_sleep(self, node: Node) -> str:
        return await asyncio.sleep(node.seconds, "slept")

    async def do_hook(self, node: Node) -> str:
        return str(await race(self.hook, sleep(node.seconds, "nothing")))

    async def do_yields(self, node: Node) -> str:
        for _ in range(int(node.seconds)):
            await asyncio.sleep(0)
        return "yielded"

    async def do_time(self, node: Node) -> str:
        return str(now())

    async def do_chance(self, node: Node) -> str:
        return str(uuid4())

    # --- of one part ---

    async def do_timeout(self, node: Node) -> str:
        try:
            async with asyncio.timeout(node.seconds):
                return await self.do(node.parts[0])
        except TimeoutError:
            return "late"

    async def do_wait_for(self, node: Node) -> str:
        try:
            return await asyncio.wait_for(self.do(node.parts[0]), node.seconds)
        except TimeoutError:
            return "late"

    async def do_shield(self, node: Node) -> str:
        return await asyncio.shield(self.do(node.parts[0]))

    async def do_caught(self, node: Node) -> str:
        try:
            return await self.do(node.parts[0])
        except (Refused, ExceptionGroup, OutliveError) as error:
            return type(error).__name__

    async def do_cleaned(self, node: Node) -> str:
        try:
            return await self.do(node.parts[0])
        finally:
            self.told.append(str(await refund(1)))

    async def do_cancelled(self, node: Node) -> str:
        task = asyncio.create_task(self.do(node.parts[0]))
        await sleep(node.seconds)
        task.cancel()
        await asyncio.wait([task])
        return "cancelled" if task.cancelled() else f"ended {task.exception()!r}"

    async def do_task(self, node: Node) -> str:
        return await asyncio.create_task(self.do(node.parts[0]))

    async def do_generator(self, node: Node) -> str:
        async def twice() -> AsyncIterator[str]:
            try:
                yield await self.do(node.parts[0])
                yield await work("second", node.seconds)
            finally:
                self.told.append(await work("closed"))

        async for value in twice():
            return value
        return "nothing"

    # --- of many ---

    async def do_sequence(self, node: Node) -> str:
        return " ".join([await self.do(part) for part in node.parts])

    async def do_gather(self, node: Node) -> str:
        return " ".join(await asyncio.gather(*(self.do(part) for part in node.parts)))

    async def do_settled(self, node: Node) -> str:
        ended = await asyncio.gather(*(self.do(part) for part in node.parts), return_exceptions=True)
        return " ".join(type(value).__name__ for value in ended)

    async def do_group(self, node: Node) -> str:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.do(part)) for part in node.parts]
        return " ".join(task.result() for task in tasks)

    async def do_race(self, node: Node) -> str:
        return await race(*(self.do(part) for part in node.parts), self.hook, sleep(node.seconds, "deadline"))  # type: ignore[arg-type]

    async def do_named_race(self, node: Node) -> str:
        named = {f"part{number}": self.do(part) for number, part in enumerate(node.parts)}
        return str(await race(**named, step=work("racing", node.seconds), nap=sleep(node.seconds)))

    async def do_wait_first(self, node: Node) -> str:
        tasks = {asyncio.create_task(self.do(part)) for part in node.parts}
        done, pending = await asyncio.wait(tasks, timeout=node.seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        ended = await asyncio.gather(*done, *pending, return_exceptions=True)
        return f"{len(done)} {' '.join(type(value).__name__ for value in ended)}"

    async def do_as_completed(self, node: Node) -> str:
        return " ".join([await ended for ended in asyncio.as_completed([self.do(part) for part in node.parts])])

    async def do_background(self, node: Node) -> str:
        for part in node.parts:
            asyncio.create_task(self.do(part))  # noqa: RUF006
        await sleep(node.seconds)
        return "left"

    async def do_locked(self, node: Node) -> str:
        async def inside(part: Node) -> str:
            async with asyncio.timeout(node.seconds + 3), self.lock:
                return await work(part.kind, part.seconds)

        ended = await asyncio.gather(*(inside(part) for part in node.parts), return_exceptions=True)
        return " ".join(type(value).__name__ for value in ended)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(program=programs, world=worlds)
def test_any_program_lives_through_anything(program: Node, world: World) -> None:
    async def body() -> Told:
        run = Run()
        try:
            await run.do(program)
        except Refused:
            run.told.append("refused")
        return run.told

    simulate(body, world=world)
