"""How steps and workflows are written and named (R1, R9, R13, R35)."""

from __future__ import annotations

import contextvars
from dataclasses import dataclass

import pytest

from outlive import (
    Engine,
    RunFailed,
    RunNotFound,
    SerializationError,
    create_hook,
    get_step_metadata,
    get_workflow_metadata,
    sleep,
    step,
    workflow,
)

from .helpers import effects, record

who = contextvars.ContextVar("who", default="nobody")


@dataclass
class Shop:
    city: str

    @step
    async def greet(self, name: str, *, loud: bool = False) -> str:
        record("greet", name)
        text = f"{name} at {self.city}"
        return text.upper() if loud else text

    @step(name="shop-close")
    def close(self) -> str:
        return f"{self.city} closed"


@workflow(name="visit", version="2")
async def visit(shop: Shop) -> list[str]:
    return [await shop.greet("ada"), await shop.greet("grace", loud=True), await shop.close()]


async def test_steps_are_methods_too_and_self_passes_by_value(engine: Engine) -> None:
    run = await engine.start(visit, Shop("Oslo"))
    assert await run.result() == ["ada at Oslo", "GRACE AT OSLO", "Oslo closed"]
    names = [event.data["name"] for event in await run.events() if event.kind == "step_completed"]
    assert names[2] == "shop-close"
    assert (await run.info()).workflow == "visit"


class Plain:
    @step
    async def act(self) -> None: ...


@workflow
async def uses_plain() -> None:
    await Plain().act()


async def test_a_self_that_cannot_be_carried_says_what_to_do(engine: Engine) -> None:
    run = await engine.start(uses_plain)
    with pytest.raises(RunFailed) as failed:
        await run.result()
    assert isinstance(failed.value.__cause__, SerializationError)
    assert "dataclass" in str(failed.value.__cause__)


@step
async def key() -> str:
    return get_step_metadata().step_id


@workflow
async def keys() -> list[str]:
    return [await key(), await key()]


async def test_r09_a_step_id_names_the_call(engine: Engine) -> None:
    run = await engine.start(keys.options(run_id="k"))
    first, second = await run.result()
    assert first.startswith("k/1/1/")
    assert second.startswith("k/1/2/")


@step
async def reads_context() -> str:
    return who.get()


@workflow
async def reads_contexts() -> tuple[str, str]:
    return who.get(), await reads_context()


async def test_r13_context_variables_cross_neither_way(engine: Engine) -> None:
    who.set("the caller")
    assert await (await engine.start(reads_contexts)).result() == ("nobody", "nobody")


@workflow
async def mutates() -> tuple[list[int], list[int]]:
    numbers = [1]
    call = append_to(numbers)
    result = await call
    return numbers, result


@step
async def append_to(numbers: list[int]) -> list[int]:
    numbers.append(2)
    return numbers


async def test_arguments_and_results_pass_by_value(engine: Engine) -> None:
    assert await (await engine.start(mutates)).result() == ([1], [1, 2])


async def test_runs_are_found_by_status_workflow_and_tag(engine: Engine) -> None:
    done = await engine.start(keys.options(tags=["a"]))
    await done.result()
    waiting = await engine.start(waits.options(tags=["a", "b"]))
    assert [info.id for info in await engine.list_runs(status="completed")] == [done.id]
    assert [info.id for info in await engine.list_runs(tag="b")] == [waiting.id]
    assert [info.id for info in await engine.list_runs(workflow=keys.name)] == [done.id]
    assert [info.id for info in await engine.list_runs()] == [waiting.id, done.id]
    assert [info.id for info in await engine.list_runs(before=waiting.id)] == [done.id]


@workflow
async def waits() -> None:
    await create_hook()


async def test_what_is_known_of_a_run_is_shown(engine: Engine) -> None:
    run = await engine.start(about_itself)
    metadata = await run.result()
    info = await run.info()
    assert metadata == (run.id, about_itself.name, 1)
    assert info.status == "completed"
    assert info.ended_at is not None
    assert info.ended_at >= info.created_at


@workflow
async def about_itself() -> tuple[str, str, int]:
    await sleep(1)
    about = get_workflow_metadata()
    return about.run_id, about.workflow, about.link


async def test_a_run_that_is_not_there_is_told_so(engine: Engine) -> None:
    with pytest.raises(RunNotFound, match="nobody"):
        await engine.get_run("nobody").result()
    with pytest.raises(RunNotFound):
        await engine.get_run("nobody").cancel()


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "a b", "x" * 300])
async def test_a_bad_run_id_is_refused(engine: Engine, name: str) -> None:
    with pytest.raises(ValueError, match="run id"):
        await engine.start(keys.options(run_id=name))


async def test_r35_a_step_outside_a_run_just_runs() -> None:
    assert await Shop("Rome").greet("ada") == "ada at Rome"
    assert await Shop("Rome").close() == "Rome closed"
    assert effects("greet") == ["ada"]


async def test_r35_a_workflow_outside_a_run_works_for_plain_tests() -> None:
    assert await visit(Shop("Rome")) == ["ada at Rome", "GRACE AT ROME", "Rome closed"]


def test_r35_generators_are_refused_at_decoration() -> None:
    def numbers() -> object:
        yield 1

    with pytest.raises(TypeError, match="generator"):
        step(numbers)
