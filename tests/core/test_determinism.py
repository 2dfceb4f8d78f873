"""What must be the same in every life and in every process (R13, R21, R38, R39)."""

from __future__ import annotations

import asyncio
import contextvars
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from outlive import (
    StepMetadata,
    get_logger,
    get_step_metadata,
    get_workflow_metadata,
    now,
    patched,
    race,
    rng,
    sleep,
    uuid4,
    workflow,
)
from outlive._core.context import emit, step_metadata
from outlive._core.guard import Guard, GuardMode
from outlive._core.loop import DeterministicLoop
from outlive._core.machine import Machine
from outlive.errors import NotInWorkflow
from outlive.model import events as ev
from outlive.model.commands import EmitLog, SetMarker
from outlive.model.ids import RunId, step_id
from tests.core.simulate import World, play_hot, simulate
from tests.core.steps import charge, work
from tests.core.story import Story, begin, names, replay, run_started, step_completed

# --- R13 ---------------------------------------------------------------------------------------------------------------

colour: contextvars.ContextVar[str] = contextvars.ContextVar("colour", default="none")


def test_r13_a_body_begins_in_an_empty_context() -> None:
    async def body() -> list[str]:
        return [colour.get(), str(len(contextvars.copy_context()))]

    token = colour.set("the worker's")
    try:
        assert begin(body).result == ["none", "0"]
    finally:
        colour.reset(token)


def test_r13_what_a_body_sets_stays_in_it() -> None:
    async def body() -> str:
        colour.set("the body's")
        await charge(1)
        return colour.get()

    assert simulate(body).result == "the body's"
    assert colour.get() == "none"


def test_r13_tasks_copy_the_context_as_ever() -> None:
    async def body() -> list[str]:
        async def paint(new: str) -> list[str]:
            before = colour.get()
            colour.set(new)
            await work(new)
            return [before, colour.get()]

        colour.set("base")
        parts = await asyncio.gather(paint("red"), paint("blue"))
        return [*parts[0], *parts[1], colour.get()]

    assert simulate(body).result == ["base", "red", "base", "blue", "base"]


def test_r13_an_inline_workflow_shares_the_context_of_its_caller() -> None:
    @workflow
    async def inner() -> str:
        return colour.get()

    async def body() -> str:
        colour.set("outer")
        return await inner()

    assert simulate(body).result == "outer"


def test_r13_a_timer_runs_in_the_context_that_set_it() -> None:
    async def body() -> list[str]:
        seen: list[str] = []
        colour.set("then")
        asyncio.get_running_loop().call_later(5, lambda: seen.append(colour.get()))
        colour.set("now")
        await sleep(9)
        return seen

    assert simulate(body).result == ["then"]


# --- recorded chance ---------------------------------------------------------------------------------------------------


async def chances() -> list[object]:
    first = [uuid4(), uuid4(), rng().random(), rng().randint(1, 10**9)]
    await charge(1)
    return [*first, uuid4(), rng().random()]


def test_chance_is_the_same_in_every_life() -> None:
    drawn = simulate(chances).result
    assert len(set(map(str, drawn))) == 6


def test_chance_differs_between_runs() -> None:
    def drawn(seed: str) -> list[object]:
        return list(simulate(chances, seed=seed).result)

    assert all(one != other for one, other in zip(drawn("aa" * 32), drawn("bb" * 32), strict=True))


def test_uuid4_is_one() -> None:
    async def body() -> uuid.UUID:
        return uuid4()

    made = begin(body).result
    assert isinstance(made, uuid.UUID) and made.version == 4 and made.variant == uuid.RFC_4122


def test_chance_and_time_work_outside_of_a_run_too() -> None:
    assert uuid4() != uuid4()
    assert rng().random() != rng().random()
    assert now().tzinfo is not None


def test_metadata_of_a_run() -> None:
    async def body() -> list[object]:
        about = get_workflow_metadata()
        return [about.run_id, about.link, about.parent_run_id]

    assert Story(body, link=3).when(run_started()).result == ["story", 3, None]


def test_metadata_has_no_meaning_outside() -> None:
    with pytest.raises(NotInWorkflow):
        get_workflow_metadata()
    with pytest.raises(NotInWorkflow):
        get_step_metadata()


def test_metadata_of_a_step() -> None:
    about = StepMetadata(
        step_id=step_id(RunId("r"), 1, 2, "s"), name="s", run_id=RunId("r"), attempt=1, started_at=now()
    )
    here = contextvars.Context()
    here.run(step_metadata.set, lambda: about)
    assert here.run(get_step_metadata) is about
    assert (about.step_id, about.cancelled) == ("r/1/2/s", False)


def test_task_names_are_the_same_in_every_life_and_every_run() -> None:
    async def body() -> list[str]:
        async def named() -> str:
            task = asyncio.current_task()
            assert task is not None
            return task.get_name()

        mine = await named()
        return [mine, *await asyncio.gather(named(), named()), await asyncio.create_task(named(), name="own")]

    there = simulate(body).result
    assert there == simulate(body, seed="aa" * 32).result
    assert (there[0], there[-1]) == ("workflow", "own")
    assert there[1].startswith("Task-") and len(there[1]) < 10


# --- R21 ---------------------------------------------------------------------------------------------------------------


def test_r21_done_sets_are_in_creation_order() -> None:
    async def body() -> list[str]:
        tasks = [asyncio.create_task(work(str(n), 5)) for n in range(10)]
        done, _ = await asyncio.wait(tasks)
        return [task.result() for task in done]

    assert simulate(body).result == [str(n) for n in range(10)]


def test_r21_as_completed_begins_coroutines_in_the_order_given() -> None:
    async def body() -> list[str]:
        return [await ended for ended in asyncio.as_completed([work(str(n), 9 - n) for n in range(10)])]

    played = simulate(body)
    assert played.result == [str(n) for n in reversed(range(10))]
    assert [arguments["label"] for ref, _, arguments in sorted(played.ran)] == [str(n) for n in range(10)]


def test_r21_gathered_groups_in_sets_are_in_creation_order() -> None:
    async def body() -> list[str]:
        groups = [asyncio.gather(work(str(n))) for n in range(10)]
        done, _ = await asyncio.wait(groups)
        return [group.result()[0] for group in done]

    assert simulate(body).result == [str(n) for n in range(10)]


def test_r21_all_tasks_are_in_creation_order_and_of_this_run_alone() -> None:
    async def body() -> list[str]:
        for n in range(10):
            asyncio.create_task(work(str(n), 99), name=str(n))  # noqa: RUF006
        await asyncio.sleep(0)
        return [task.get_name() for task in asyncio.all_tasks()]

    other = begin(body)
    assert other.outcome is None
    assert play_hot(body).result == ["workflow", *(str(n) for n in range(10))]


@pytest.mark.parametrize("size", [2**power for power in range(4, 13)])
def test_r21_whatever_the_size_of_the_set_in_which_asyncio_keeps_all_tasks(size: int) -> None:
    """Two hashes that collide in a small set come out in the order in which they went in: that of the big set they were in."""

    async def body() -> list[str]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, DeterministicLoop)
        while loop.next_order() % size != size - 5:
            pass
        one = asyncio.create_task(sleep(99), name="one")
        while loop.next_order() % size != 3:
            pass
        two = asyncio.create_task(sleep(99), name="two")
        assert hash(two) - hash(one) == 8
        return [task.get_name() for task in asyncio.all_tasks()]

    assert begin(body).result == ["workflow", "one", "two"]


def test_r21_asyncio_run_elsewhere_still_sees_its_own_tasks() -> None:
    async def main() -> int:
        return len(asyncio.all_tasks())

    assert asyncio.run(main()) == 1


def test_r21_tasks_of_many_runs_do_not_hash_alike() -> None:
    """All tasks of a thread stand in one set of asyncio's; equal hashes would make it slow with the square of the runs."""

    def first_hash(seed: str) -> int:
        machine = Story(charge_once, seed=seed).when(run_started()).machine
        return hash(machine.loop.all_tasks[0])

    assert len({first_hash(f"{n:064x}") for n in range(50)}) == 50


async def charge_once() -> int:
    return await charge(1)


def test_r21_refs_and_results_do_not_depend_on_the_hash_seed() -> None:
    root = Path(__file__).parents[2]

    def played(seed: str, noise: int) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.core.hash_seed_program", str(noise)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=root,
            stdout=subprocess.PIPE,
            text=True,
        )

    processes = [played("0", 0), played("1", 5_000), played("4242", 50_000)]
    printed = {process.communicate()[0] for process in processes}
    assert len(printed) == 1 and len(printed.pop()) > 1_000


# --- R38 ---------------------------------------------------------------------------------------------------------------


async def renovated() -> list[bool]:
    await charge(1)
    answers = [patched("new-tax")]
    await charge(2)
    return [*answers, patched("new-tax")]


def test_r38_a_new_run_takes_the_new_path_and_says_so() -> None:
    story = begin(renovated).when(step_completed())
    assert story.asked(SetMarker) == [SetMarker("new-tax")]
    assert story.when(ev.Marker(id="new-tax"), step_completed()).result == [True, True]


def test_r38_a_run_that_passed_here_before_takes_the_old_path() -> None:
    story = replay(renovated).given(run_started(), step_completed(), step_completed())
    assert story.result == [False, False]


def test_r38_it_keeps_its_answer_beyond_the_end_of_the_log() -> None:
    story = replay(renovated).given(run_started(), step_completed())
    assert story.when(step_completed()).result == [False, False]
    assert story.asked(SetMarker) == []


def test_r38_a_recorded_marker_is_true_for_ever() -> None:
    story = Story(renovated, markers=frozenset({"new-tax"})).given(run_started(), step_completed(), step_completed())
    assert story.result == [True, True]
    assert story.asked(SetMarker) == []


def test_r38_a_run_evicted_at_the_same_place_keeps_its_answer() -> None:
    played = simulate(renovated)
    assert played.result == [True, True]
    assert played.told.count("marker") == 1


def test_r38_each_patch_has_its_own_answer() -> None:
    async def body() -> list[bool]:
        first = patched("one")
        await charge(1)
        return [first, patched("two")]

    story = Story(body, markers=frozenset({"two"})).given(run_started())
    assert story.when(step_completed()).result == [False, True]


def test_r38_a_first_call_beyond_the_log_is_true_though_the_run_is_old() -> None:
    story = replay(renovated).given(run_started())
    assert story.when(step_completed()).asked(SetMarker) == [SetMarker("new-tax")]


def test_r38_a_call_of_which_nothing_is_recorded_is_one_beyond_the_log() -> None:
    story = Story(renovated, recorded=1).given(run_started(), step_completed())
    assert story.machine.fresh_markers == ["new-tax"]
    assert story.when(step_completed()).result == [True, True]


def test_r38_a_call_after_which_something_is_recorded_is_not() -> None:
    story = Story(renovated, recorded=2).given(run_started(), step_completed())
    assert story.machine.fresh_markers == []
    assert story.when(step_completed()).result == [False, False]


# --- log lines ---------------------------------------------------------------------------------------------------------


def test_log_lines_come_out_once_and_not_on_replay() -> None:
    async def body() -> None:
        log = get_logger("tests.core")
        log.warning("charging %s", 1)
        await charge(1)
        log.warning("charged")

    story = begin(body).when(step_completed())
    assert [command.record.getMessage() for command in story.asked(EmitLog)] == ["charged"]
    assert replay(body).given(*story.log[1:]).asked(EmitLog) == []
    assert play_hot(body).lines == ["charging 1", "charged"]


def test_log_lines_carry_their_run() -> None:
    async def body() -> None:
        get_logger("tests.core").warning("hello")

    [line] = begin(body).asked(EmitLog)
    assert line.record.run_id == "story"  # type: ignore[attr-defined]


def test_log_lines_say_what_was_so_when_they_were_written() -> None:
    async def body() -> None:
        basket = ["book"]
        get_logger("tests.core").warning("charging %s", basket)
        get_logger("tests.core").warning("for %(name)s", {"name": basket})
        get_logger("tests.core").warning("%d scalars stay %s", 2, "apart")
        basket.clear()

    lines = [line.record for line in begin(body).asked(EmitLog)]
    assert [line.getMessage() for line in lines] == ["charging ['book']", "for ['book']", "2 scalars stay apart"]
    assert lines[-1].args == (2, "apart")


def test_a_line_that_does_not_fit_its_arguments_does_not_fail_the_body() -> None:
    async def body() -> str:
        get_logger("tests.core").warning("%d", [])
        return "done"

    assert begin(body).result == "done"


def test_a_line_that_was_held_back_reaches_the_handlers(caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> None:
        get_logger("tests.core").warning("hello")

    [line] = begin(body).asked(EmitLog)
    assert caplog.messages == []
    emit(line.record)
    assert caplog.messages == ["hello"]


def test_the_same_logger_outside_of_a_body_is_an_ordinary_one(caplog: pytest.LogCaptureFixture) -> None:
    get_logger("tests.core").warning("from a step")
    assert caplog.messages == ["from a step"]


# --- the guard ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", list(GuardMode))
def test_what_outlive_and_asyncio_do_themselves_passes_the_guard(mode: GuardMode) -> None:
    async def body() -> list[object]:
        queue: asyncio.Queue[str] = asyncio.Queue()
        lock, event = asyncio.Lock(), asyncio.Event()

        async def produce() -> None:
            async with lock:
                queue.put_nowait(await work("w"))
            event.set()

        async with asyncio.TaskGroup() as group:
            group.create_task(produce())
            group.create_task(event.wait())
        get_logger("tests.core").info("at %s", now())
        won = await race(work("slow", 9), sleep(1, "late"))
        return [await queue.get(), won, rng().random() < 1, uuid4().version, patched("p")]

    assert simulate(body, guard=Guard(mode)).result == ["w", "late", True, 4, True]


def test_two_runs_in_one_thread_know_nothing_of_each_other() -> None:
    one, other = begin(chances), begin(chances)
    assert one.machine.loop is not other.machine.loop
    assert one.when(step_completed()).result == other.when(step_completed()).result


def test_machines_of_one_thread_take_turns() -> None:
    async def body() -> list[str]:
        return [await work("a"), await work("b")]

    one, other = begin(body), begin(body)
    one.when(step_completed(result="1a"))
    other.when(step_completed(result="2a"))
    other.when(step_completed(result="2b"))
    one.when(step_completed(result="1b"))
    assert (one.result, other.result) == (["1a", "1b"], ["2a", "2b"])


def test_a_world_is_only_what_it_says() -> None:
    assert names(begin(renovated).commands) == ["CallStep charge"]
    assert isinstance(begin(renovated).machine, Machine)
    assert World().cancels == ()
