"""Random programs, and the one interpreter that runs them in a workflow body and on plain asyncio alike."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from outlive import get_step_metadata, race, sleep, step

FIRST_PAUSE = 0.25
"""Seconds before a step is tried again."""


class Refused(Exception):
    """What a failing step raises."""


@dataclass(frozen=True)
class Node:
    """A piece of a program: what it is, how long it takes, and what it is made of."""

    kind: str
    seconds: float = 0.0
    parts: tuple[Node, ...] = ()

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self, depth: int = 0) -> Iterator[str]:
        yield f"{'    ' * depth}{self.kind}({self.seconds:.3f})"
        for part in self.parts:
            yield from part.lines(depth + 1)


# --- steps ---


@step(max_retries=0)
async def work(name: str, seconds: float) -> str:
    await asyncio.sleep(seconds)
    return name


@step(max_retries=0)
async def refuse(name: str, seconds: float) -> str:
    await asyncio.sleep(seconds)
    raise Refused(name)


@step(max_retries=3, retry_delay=FIRST_PAUSE)
async def work_at_the_third_try(name: str, seconds: float) -> str:
    await asyncio.sleep(seconds)
    if get_step_metadata().attempt < 3:
        raise ConnectionError
    return name


async def tried_three_times(name: str, seconds: float) -> str:
    """What the step above is, in plain asyncio."""
    for _ in range(2):
        await asyncio.sleep(seconds)
        await asyncio.sleep(FIRST_PAUSE)
    await asyncio.sleep(seconds)
    return name


# --- programs ---

LEAVES = ("step", "step", "step", "retried", "sleep", "asyncio_sleep", "hook", "hook_loop", "failing")
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
    "semaphore",
)
SINGLES = ("timeout", "wait_for", "shield", "caught", "cleaned", "cancelled", "task", "generator", "looped")

moments = st.integers(1, 9).map(float)
pieces: st.SearchStrategy[Node] = st.recursive(
    st.builds(Node, st.sampled_from(LEAVES), moments),
    lambda inner: st.one_of(
        st.builds(Node, st.sampled_from(PAIRS), moments, st.lists(inner, min_size=2, max_size=4).map(tuple)),
        st.builds(Node, st.sampled_from(SINGLES), moments, inner.map(lambda node: (node,))),
    ),
    max_leaves=8,
)
programs = st.builds(
    Node, st.sampled_from(["sequence", "settled"]), st.just(1.0), st.lists(pieces, min_size=2, max_size=3).map(tuple)
).map(lambda node: apart(node, fractions()))


def fractions() -> Iterator[float]:
    """Numbers whose sums hardly ever meet, so that no two things are due at one moment."""
    number = 2
    while True:
        root = math.sqrt(number)
        if root != int(root):
            yield root % 1
        number += 1


def apart(node: Node, different: Iterator[float]) -> Node:
    """The same program with durations of their own."""
    return Node(node.kind, node.seconds + next(different), tuple(apart(part, different) for part in node.parts))


class Play:
    """Runs a program. What differs between a workflow body and plain asyncio is given."""

    def __init__(self, hook: Any, retried: Callable[[str, float], Any], pace: float = 1.0) -> None:
        """Steps take ``pace`` times the seconds that are written; waits take what is written."""
        self.pace = pace
        self.told: list[str] = []
        self.hook = hook
        self.retried = retried

    async def all_of(self, program: Node) -> list[str]:
        try:
            await self.do(program)
        except Refused:
            self.told.append("refused")
        except ExceptionGroup as group:
            self.told.append(f"group of {len(group.exceptions)}")
        except asyncio.CancelledError:
            self.told.append("cancelled")
        return self.told

    async def do(self, node: Node) -> str:
        answer = str(await getattr(self, f"do_{node.kind}")(node))
        self.told.append(f"{node.kind}={answer}")
        return answer

    # --- leaves ---

    async def do_step(self, node: Node) -> str:
        return await work("step", node.seconds * self.pace)

    async def do_retried(self, node: Node) -> str:
        return str(await self.retried("third", node.seconds * self.pace))

    async def do_failing(self, node: Node) -> str:
        return await refuse("step", node.seconds * self.pace)

    async def do_sleep(self, node: Node) -> str:
        return await sleep(node.seconds, "slept")

    async def do_asyncio_sleep(self, node: Node) -> str:
        return await asyncio.sleep(node.seconds, "slept")

    async def do_hook(self, node: Node) -> str:
        return str(await race(self.hook, sleep(node.seconds, "nothing")))

    async def do_hook_loop(self, node: Node) -> str:
        got: list[str] = []
        for _ in range(3):
            try:
                async with asyncio.timeout(node.seconds):
                    got.append(str(await self.hook))
            except TimeoutError:
                got.append("-")
        return "".join(got)

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
        except (Refused, ExceptionGroup) as error:
            return type(error).__name__

    async def do_cleaned(self, node: Node) -> str:
        try:
            return await self.do(node.parts[0])
        finally:
            self.told.append(await work("cleaned", node.seconds * self.pace / 16))

    async def do_cancelled(self, node: Node) -> str:
        task = asyncio.create_task(self.do(node.parts[0]))
        await sleep(node.seconds)
        task.cancel()
        await asyncio.wait([task])
        return "cancelled" if task.cancelled() else f"ended {type(task.exception()).__name__}"

    async def do_task(self, node: Node) -> str:
        return await asyncio.create_task(self.do(node.parts[0]))

    async def do_looped(self, node: Node) -> str:
        return " ".join([await self.do(node.parts[0]) for _ in range(2)])

    async def do_generator(self, node: Node) -> str:
        async def some() -> AsyncIterator[str]:
            yield await self.do(node.parts[0])
            yield await work("second", node.seconds * self.pace)

        return " ".join([value async for value in some()])

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
        return str(await race(*(self.do(part) for part in node.parts), self.hook, sleep(node.seconds, "deadline")))

    async def do_named_race(self, node: Node) -> str:
        named = {f"part{number}": self.do(part) for number, part in enumerate(node.parts)}
        return str(await race(**named, step=work("racing", node.seconds * self.pace)))

    async def do_wait_first(self, node: Node) -> str:
        tasks = [asyncio.create_task(self.do(part)) for part in node.parts]
        done, pending = await asyncio.wait(tasks, timeout=node.seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        return f"{len(done)} of {len(done) + len(pending)} {' '.join(type(value).__name__ for value in ended)}"

    async def do_as_completed(self, node: Node) -> str:
        # as tasks: plain asyncio begins coroutines in any order, ours in the one given (R21)
        tasks = [asyncio.create_task(self.do(part)) for part in node.parts]
        return " ".join([await ended for ended in asyncio.as_completed(tasks)])

    async def do_background(self, node: Node) -> str:
        for part in node.parts:
            asyncio.create_task(self.do(part))  # noqa: RUF006
        await sleep(node.seconds)
        return "left"

    async def do_semaphore(self, node: Node) -> str:
        room = asyncio.Semaphore(2)

        async def inside(part: Node) -> str:
            async with room:
                return await self.do(part)

        ended = await asyncio.gather(*(inside(part) for part in node.parts), return_exceptions=True)
        return " ".join(type(value).__name__ for value in ended)
