"""Mistakes that type checkers must find: an ignore that is not needed is an error, for each of the two.

This file is checked and never run.
"""

from __future__ import annotations

from outlive import Engine, HookDefinition, Step, define_hook, race, run, sleep, start, step, workflow


@step
async def ship(order: str, count: int) -> int:
    return len(order) * count


@workflow
async def pipeline(order: str) -> str:
    return order


greeting: HookDefinition[str] = define_hook(str)


async def wrong_arguments(engine: Engine) -> None:
    await ship(1, 2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await ship("a")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await ship.options(max_retries="3")("a", 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await ship.options(retries=3)("a", 1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await pipeline(order=b"a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await engine.start(pipeline)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await start(pipeline, 5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    run(pipeline, order=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await greeting.resume("token", 5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def a_step_is_not_a_workflow(engine: Engine) -> None:
    await engine.start(ship, "a", 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]


async def what_is_awaited_is_not_what_is_called() -> None:
    number: int = ship("a", 1)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    text: str = await race(ship("a", 1), sleep(1, "b"))  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]
    other: Step[[str], int] = ship  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    del number, text, other


@workflow  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
def not_async(order: str) -> str:
    return order


async def a_deadline_needs_a_unit() -> None:
    await sleep(["1 day"])  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
