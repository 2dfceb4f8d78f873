"""Calls, inside and outside of a run, and what a body asks of other runs (R35, R36)."""

from __future__ import annotations

import asyncio
import inspect
import sys
import types
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from importlib.machinery import ModuleSpec

import pytest
from msgspec import Raw

from outlive import create_hook, now, race, sleep, step, workflow
from outlive._core import others
from outlive._core.authoring import Step, StepDecorator, WorkflowDecorator
from outlive._core.context import required
from outlive._core.registry import Registry, registry, stable_name
from outlive.errors import (
    DuplicateName,
    HookNotFound,
    NotInWorkflow,
    PayloadInvalid,
    RunCancelled,
    RunConflict,
    RunFailed,
    RunNotFound,
    RunTerminated,
    UnknownWorkflow,
)
from outlive.model.commands import CancelOther, SendToHook, StartChild, UnwatchRun, WatchRun
from outlive.model.ids import RunId
from outlive.model.steps import StepOptions
from tests.core.simulate import World, simulate
from tests.core.steps import Refused, charge, work
from tests.core.story import (
    CODEC,
    Story,
    begin,
    call_completed,
    call_failed,
    child_completed,
    child_started,
    decoded,
    encoded,
    names,
    replay,
    run_started,
    step_completed,
)

# --- R35 ---------------------------------------------------------------------------------------------------------------


@step
def blocking(number: int) -> int:
    return number + 1


@workflow
async def shop(amount: int) -> int:
    return await charge(amount)


def test_r35_calling_a_step_gives_a_coroutine_everywhere() -> None:
    for call in (charge(1), blocking(1), shop(1)):
        assert isinstance(call, Coroutine)
        call.close()


def test_r35_a_step_outside_of_a_run_runs_its_function_once() -> None:
    assert asyncio.run(charge(5)) == 5


def test_r35_a_blocking_one_runs_in_a_thread() -> None:
    assert asyncio.run(blocking(5)) == 6


def test_r35_its_exception_is_its_own() -> None:
    @step
    def refuse() -> None:
        raise Refused(1)

    with pytest.raises(Refused):
        asyncio.run(refuse())


def test_r35_fn_is_the_undecorated_function() -> None:
    assert blocking.fn(5) == 6
    assert inspect.iscoroutinefunction(shop.fn)


def test_r35_a_workflow_outside_of_a_run_works_for_plain_tests() -> None:
    @workflow
    async def whole() -> list[object]:
        won = await race(charge(1), sleep(60))
        await sleep(0.001)
        return [won, now().tzinfo is not None]

    assert asyncio.run(whole()) == [1, True]


def test_r35_hooks_there_raise() -> None:
    @workflow
    async def hooked() -> None:
        create_hook()

    with pytest.raises(NotInWorkflow):
        asyncio.run(hooked())


def test_r35_a_step_inside_a_step_is_a_plain_call() -> None:
    @step
    async def outer() -> int:
        return await charge(3)

    async def body() -> int:
        return await outer()

    played = simulate(body)
    assert (played.result, [name for _, name, _ in played.ran]) == (3, ["outer"])


def test_r35_steps_go_into_tasks_and_task_groups() -> None:
    async def body() -> list[int]:
        one = asyncio.create_task(charge(1))
        async with asyncio.TaskGroup() as group:
            two = group.create_task(charge(2))
        return [await one, two.result()]

    assert simulate(body).result == [1, 2]


def test_r35_sleeps_and_hooks_go_into_tasks_and_task_groups() -> None:
    async def body() -> list[object]:
        hook = create_hook()
        async with asyncio.TaskGroup() as group:
            one = group.create_task(sleep(5, "slept"))
            two = group.create_task(hook.receive())
        assert "workflow" not in repr(one)
        return [one.result(), two.result()]

    assert simulate(body, world=World(payloads=[(1, "x")])).result == ["slept", "x"]


@pytest.mark.parametrize("call", [lambda: sleep(5), lambda: create_hook().receive(), lambda: charge(1)])
def test_r35_what_waits_and_was_never_awaited_says_so(call: Callable[[], object]) -> None:
    async def body() -> None:
        call()

    with pytest.warns(RuntimeWarning, match="never awaited"):
        begin(body)


def test_r35_a_step_that_was_never_awaited_is_called_by_its_name() -> None:
    with pytest.warns(RuntimeWarning, match="coroutine 'charge' was never awaited"):
        charge(1).__class__  # noqa: B018


def test_r35_any_awaitable_of_ours_goes_anywhere() -> None:
    async def body() -> list[object]:
        hook = create_hook()
        first = await asyncio.wait_for(hook, 5)
        second, third = await asyncio.gather(hook, sleep(9, "slept"))
        try:
            await asyncio.wait_for(asyncio.shield(hook.receive()), 5)
        except TimeoutError:
            return [first, second, third, "late"]
        return []

    world = World(payloads=[(1, "a"), (2, "b")])
    assert simulate(body, world=world).result == ["a", "b", "slept", "late"]


def test_r35_what_waits_is_awaited_once() -> None:
    async def body() -> None:
        nap = sleep(0)
        await nap
        await nap

    assert isinstance(simulate(body).failure, RuntimeError)


def test_r35_an_inline_workflow_runs_in_the_callers_log() -> None:
    async def body() -> list[int]:
        return await asyncio.gather(shop(1), shop(2))

    story = begin(body)
    assert names(story.commands) == ["CallStep charge", "CallStep charge"]
    assert story.when(step_completed(result=1), step_completed(result=2)).result == [1, 2]


def generator() -> Iterator[int]:
    yield 1


async def async_generator() -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize(
    "decorate", [StepDecorator(None, StepOptions(), Registry()), WorkflowDecorator(None, None, Registry())]
)
@pytest.mark.parametrize("function", [generator, async_generator])
def test_r35_generators_are_refused_at_decoration(decorate: object, function: object) -> None:
    with pytest.raises(TypeError, match="generator"):
        decorate(function)  # type: ignore[operator]


def test_r35_so_are_workflows_that_are_not_async_and_things_that_are_no_functions() -> None:
    with pytest.raises(TypeError, match="not async"):
        workflow(lambda: None)  # type: ignore[arg-type,return-value]
    with pytest.raises(TypeError, match="goes on a function"):
        step(print)
    with pytest.raises(TypeError, match="put @step inside"):
        step(staticmethod(generator))  # type: ignore[call-overload]


def test_options_change_one_call_and_leave_the_step_alone() -> None:
    once = charge.options(max_retries=9, timeout="5s", retry_delay="1m")
    assert (once.step_options.retry.max_retries, once.step_options.retry.delay, once.step_options.timeout) == (9, 60, 5)
    assert charge.step_options == StepOptions()
    assert once.name == charge.name


def test_options_of_a_method_keep_its_object() -> None:
    class Till:
        @step
        async def open(self) -> str:
            return "open"

    till = Till()
    assert asyncio.run(till.open.options(max_retries=1)()) == "open"
    assert isinstance(Till.open, Step)


def test_a_step_that_runs_at_most_once_is_not_retried() -> None:
    assert charge.options(at_most_once=True).step_options.retry.max_retries == 0
    with pytest.raises(ValueError, match="at most once"):
        charge.options(at_most_once=True, max_retries=1)
    with pytest.raises(ValueError, match="0 or more"):
        charge.options(max_retries=-1)


def test_options_do_not_enter_matching() -> None:
    async def hasty() -> int:
        return await charge.options(max_retries=0)(1)

    async def patient() -> int:
        return await charge.options(max_retries=9, timeout=5)(1)

    log = begin(hasty).when(step_completed(result=1)).log
    assert replay(patient).given(*log[1:]).result == 1


def test_workflow_options_keep_what_they_do_not_name() -> None:
    tagged = shop.options(run_id="nightly", tags=["a"])
    assert (tagged.options(tags=("b",)).run_id, tagged.options(run_id="x").tags) == ("nightly", ("a",))
    assert (shop.run_id, shop.tags) == (None, ())


def test_two_functions_of_one_name_are_told_apart() -> None:
    mine = Registry()
    StepDecorator("same", StepOptions(), mine)(blocking.fn)
    with pytest.raises(DuplicateName, match="give one of them another name"):
        StepDecorator("same", StepOptions(), mine)(charge.fn)


def test_a_function_defined_again_takes_its_own_place() -> None:
    mine = Registry()
    first = StepDecorator("same", StepOptions(), mine)(charge.fn)
    again = StepDecorator("same", StepOptions(), mine)(charge.fn)
    assert mine.step("same") is again is not first


def test_an_unknown_name_says_what_to_import() -> None:
    with pytest.raises(UnknownWorkflow, match=r"import 'shop\.orders' first"):
        registry.workflow("shop.orders:buy")
    with pytest.raises(UnknownWorkflow, match=r"import 'shop\.orders' first"):
        registry.step("shop.orders:charge")


def test_r37_a_scripts_functions_are_named_by_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    script = types.ModuleType("__main__")
    script.__file__ = "/somewhere/nightly.py"
    monkeypatch.setitem(sys.modules, "__main__", script)
    assert stable_name(_of_main()) == "nightly:fn"


def test_r37_a_packages_functions_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    package = types.ModuleType("__main__")
    package.__spec__ = ModuleSpec("shop.nightly.__main__", None)
    monkeypatch.setitem(sys.modules, "__main__", package)
    assert stable_name(_of_main()) == "shop.nightly:fn"


def test_r37_and_at_a_prompt_they_are_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "__main__", types.ModuleType("__main__"))
    assert stable_name(_of_main()) == "__main__:fn"


def _of_main() -> Callable[[], None]:
    def fn() -> None: ...

    fn.__module__, fn.__qualname__ = "__main__", "fn"
    return fn


def test_the_fingerprint_of_a_module_without_source_is_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    made = types.ModuleType("made_up")
    monkeypatch.setitem(sys.modules, "made_up", made)
    mine = Registry()
    mine._modules.add("made_up")
    without = mine.fingerprint()
    made.__file__ = "/nowhere/made_up.py"
    assert mine.fingerprint() == without


def test_the_fingerprint_follows_names_and_sources() -> None:
    one, other = Registry(), Registry()
    StepDecorator("a", StepOptions(), one)(charge.fn)
    StepDecorator("b", StepOptions(), other)(charge.fn)
    assert one.fingerprint() == one.fingerprint() != other.fingerprint()


# --- R36 ---------------------------------------------------------------------------------------------------------------


async def parent(amount: int) -> object:
    return await others.start_child(required("a test"), shop, (amount,), {})


def test_r36_starting_a_child_is_a_command() -> None:
    [child] = begin(parent, 5).asked(StartChild)
    assert (child.workflow, child.run_id, decoded(child.input)) == (shop.name, "story.1", {"amount": 5})


def test_r36_its_handle_comes_once_it_is_durable() -> None:
    story = begin(parent, 5)
    assert story.outcome is None
    assert story.when(child_started()).result == "story.1"


def test_r36_a_child_of_a_later_link_has_an_id_of_its_own() -> None:
    [child] = Story(parent, (5,), link=3).when(run_started()).asked(StartChild)
    assert child.run_id == "story.3-1"


def test_r36_an_id_of_ones_own_goes_through() -> None:
    async def body() -> object:
        return await others.start_child(required("a test"), shop.options(run_id="mine", tags=("t",)), (), {"amount": 5})

    [child] = begin(body).asked(StartChild)
    assert (child.run_id, child.tags) == ("mine", ("t",))


def test_r36_a_conflicting_id_raises_as_recorded() -> None:
    story = begin(parent, 5).when(child_started(conflict=True))
    assert isinstance(story.failure, RunConflict)
    assert isinstance(replay(parent, 5).given(*story.log[1:]).failure, RunConflict)


async def watching(run: str) -> object:
    return await others.watch(required("a test"), RunId(run))


def test_r36_the_result_of_any_run_can_be_awaited() -> None:
    story = begin(watching, "other")
    assert story.asked(WatchRun) == [WatchRun(1, RunId("other"))]
    assert story.when(child_completed({"sum": 5})).result == {"sum": 5}


@pytest.mark.parametrize(
    ("status", "outcome", "kind"),
    [
        ("failed", Raw(CODEC.encode_exception(Refused(3))), RunFailed),
        ("cancelled", encoded(None), RunCancelled),
        ("terminated", encoded("by hand"), RunTerminated),
        ("not_found", encoded(None), RunNotFound),
    ],
)
def test_r36_how_it_ended_is_how_it_raises(status: str, outcome: Raw, kind: type[Exception]) -> None:
    story = begin(watching, "other").when(child_completed(status=status, outcome=outcome))
    assert isinstance(story.failure, kind)
    assert "other" in str(story.failure)


def test_r36_a_failed_run_says_why() -> None:
    async def body() -> int:
        try:
            await others.watch(required("a test"), RunId("other"))
        except RunFailed as failed:
            assert isinstance(failed.__cause__, Refused)
            return failed.__cause__.amount
        return 0

    assert simulate(body, world=World(runs={"other": (5, Refused(7))})).result == 7


def test_r36_a_cancelled_watch_is_forgotten() -> None:
    async def body() -> str:
        try:
            async with asyncio.timeout(5):
                await others.watch(required("a test"), RunId("other"))
        except TimeoutError:
            return "late"
        return "in time"

    assert simulate(body, world=World(runs={"other": (50, "x")})).result == "late"
    assert simulate(body, world=World(runs={"other": (3, "x")})).result == "in time"


def test_r36_a_watch_whose_run_ended_as_it_was_dropped_is_a_no_op() -> None:
    async def body() -> str:
        await race(others.watch(required("a test"), RunId("other")), charge(1))
        return await work("after")

    story = begin(body)
    ended = child_completed("x")(story)
    story.when(step_completed("charge"))
    assert story.asked(UnwatchRun) == [UnwatchRun(1)]
    assert names(story.open) == ["CallStep work"]
    assert story.when(ended).commands == []


def test_r36_sending_to_a_hook_is_a_command() -> None:
    async def body() -> object:
        return await others.send(required("a test"), "token", {"a": 1})

    story = begin(body)
    [sent] = story.asked(SendToHook)
    assert "token" not in sent.token_hash
    assert story.when(call_completed()).result is None


@pytest.mark.parametrize(
    ("reason", "kind"), [("not_found", HookNotFound), ("ended", HookNotFound), ("full", PayloadInvalid)]
)
def test_r36_a_hook_that_refuses_raises(reason: str, kind: type[Exception]) -> None:
    async def body() -> object:
        return await others.send(required("a test"), "token", 1)

    assert isinstance(begin(body).when(call_failed(reason)).failure, kind)


def test_r36_cancelling_another_run_is_a_command() -> None:
    async def body() -> bool:
        return await others.cancel_other(required("a test"), RunId("other"))

    story = begin(body)
    assert story.asked(CancelOther) == [CancelOther(1, "other", RunId("other"))]
    assert story.when(call_completed(True)).result is True
    assert isinstance(begin(body).when(call_failed("not_found")).failure, RunNotFound)


def test_r36_all_of_it_lives_through_any_crash() -> None:
    async def body() -> list[object]:
        machine = required("a test")
        child = await others.start_child(machine, shop, (1,), {})
        ended = await asyncio.gather(
            others.watch(machine, RunId("story.1")),
            others.send(machine, "token", {"x": 1}),
            others.cancel_other(machine, RunId("other")),
            charge(1),
        )
        return [child, *ended]

    assert simulate(body, world=World(runs={"story.1": (7, 1)})).result == ["story.1", 1, None, True, 1]
