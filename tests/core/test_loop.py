"""Nobody reaches in, nothing gets out, every drain ends (R26, R27, R28)."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any

import pytest

from outlive import sleep
from outlive._core import others
from outlive._core.context import required
from outlive._core.loop import MAX_CALLBACKS, DeterministicLoop
from outlive._core.machine import NeverIdle
from outlive.errors import NonDeterminismError
from outlive.model import events as ev
from outlive.model.commands import EndRun
from outlive.model.events import Recorded
from outlive.model.ids import RunId
from tests.core.simulate import simulate
from tests.core.steps import charge, work
from tests.core.story import START, Story, begin, completed, replay, step_completed

# --- R26 ---------------------------------------------------------------------------------------------------------------


class Leaked:
    """What a body let out."""

    loop: DeterministicLoop
    future: asyncio.Future[str]
    task: asyncio.Task[str]
    timer: asyncio.TimerHandle
    step: asyncio.Task[int]


async def leaky(leaked: list[Leaked]) -> str:
    out = leaked[0] = Leaked()
    loop = asyncio.get_running_loop()
    assert isinstance(loop, DeterministicLoop)
    out.loop = loop
    out.future = loop.create_future()
    out.timer = loop.call_later(50, print)
    out.step = asyncio.create_task(charge(1))

    async def wait() -> str:
        return await out.future

    out.task = asyncio.create_task(wait())
    return await out.task


def leaking() -> tuple[Story, Leaked]:
    leaked: list[Leaked] = [Leaked()]

    async def body() -> str:
        return await leaky(leaked)

    return begin(body), leaked[0]


def begin_a_task(out: Leaked) -> None:
    coroutine = sleep(5)
    try:
        out.loop.create_task(coroutine)
    finally:
        coroutine.close()


REACHING_IN: dict[str, Callable[[Leaked], object]] = {
    "set_result": lambda out: out.future.set_result("x"),
    "set_exception": lambda out: out.future.set_exception(ValueError()),
    "cancel of a future": lambda out: out.future.cancel(),
    "cancel of a task": lambda out: out.task.cancel(),
    "cancel of a step": lambda out: out.step.cancel(),
    "cancel of a timer": lambda out: out.timer.cancel(),
    "call_soon": lambda out: out.loop.call_soon(print),
    "call_soon_threadsafe": lambda out: out.loop.call_soon_threadsafe(print),
    "call_later": lambda out: out.loop.call_later(5, print),
    "call_at": lambda out: out.loop.call_at(START + 5, print),
    "create_task": begin_a_task,
}


@pytest.mark.parametrize("how", REACHING_IN)
def test_r26_nobody_touches_a_run_between_activations(how: str) -> None:
    story, leaked = leaking()
    with pytest.raises(NonDeterminismError, match="from outside the workflow"):
        REACHING_IN[how](leaked)
    assert not leaked.future.done()
    assert story.when(step_completed(result=1)).commands == []


@pytest.mark.parametrize("how", REACHING_IN)
def test_r26_nor_from_another_thread_during_one(how: str) -> None:
    refused: list[BaseException] = []

    async def body() -> None:
        leaked: list[Leaked] = [Leaked()]
        running = asyncio.create_task(leaky(leaked))
        await charge(2)

        def elsewhere() -> None:
            try:
                REACHING_IN[how](leaked[0])
            except NonDeterminismError as error:
                refused.append(error)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert not running.done() and not leaked[0].future.done()
        await charge(3)

    story = begin(body).when(step_completed(ref=1))
    assert (len(refused), story.machine.outcome) == (1, None)


@pytest.mark.parametrize("how", REACHING_IN)
def test_r26_nor_from_another_run(how: str) -> None:
    _, leaked = leaking()

    async def body() -> None:
        REACHING_IN[how](leaked)

    assert isinstance(begin(body).failure, NonDeterminismError)


def test_r26_a_step_awaited_in_another_run_is_refused() -> None:
    leaked: list[Any] = []

    async def first() -> None:
        leaked.append(charge(1))
        await charge(2)

    async def second() -> None:
        await leaked[0]

    begin(first)
    assert isinstance(begin(second).failure, NonDeterminismError)


def test_r26_so_is_whatever_else_was_made_in_another_run() -> None:
    leaked: list[Any] = []

    async def first() -> None:
        leaked.append(others.watch(required("a test"), RunId("other")))
        await charge(2)

    async def second() -> None:
        await leaked[0]

    story = begin(first)
    assert isinstance(begin(second).failure, NonDeterminismError)
    assert story.when(step_completed()).commands == [EndRun(completed())]


def test_r26_or_awaited_in_none() -> None:
    leaked: list[Any] = []

    async def body() -> None:
        leaked.append(others.watch(required("a test"), RunId("other")))
        await charge(2)

    begin(body)
    with pytest.raises(NonDeterminismError, match="await it where it is made"):
        asyncio.run(leaked[0])


def test_r26_a_step_called_in_a_body_and_awaited_outside_is_refused() -> None:
    leaked: list[Any] = []

    async def body() -> None:
        leaked.append(charge(1))
        await charge(2)

    async def outside() -> None:
        await leaked[0]

    begin(body)
    with pytest.raises(NonDeterminismError, match="awaited outside"):
        asyncio.run(outside())


def test_r26_a_primitive_from_outside_is_refused_to_the_first_who_waits() -> None:
    shared = asyncio.Semaphore(0)

    async def body() -> None:
        await shared.acquire()

    assert isinstance(begin(body).failure, NonDeterminismError)
    assert isinstance(begin(body).failure, NonDeterminismError)


def test_r26_so_is_one_of_another_run() -> None:
    made: list[asyncio.Event] = []

    async def makes() -> None:
        made.append(asyncio.Event())

    async def waits() -> None:
        await made[0].wait()

    begin(makes)
    assert isinstance(begin(waits).failure, NonDeterminismError)


# --- R27 ---------------------------------------------------------------------------------------------------------------


async def idle() -> None:
    await charge(1)


def test_r27_an_activation_is_not_entered_from_a_task() -> None:
    async def main() -> None:
        begin(idle)

    with pytest.raises(RuntimeError, match="R27"):
        asyncio.run(main())


def test_r27_it_is_entered_from_a_callback() -> None:
    begun: list[Story] = []

    async def main() -> None:
        asyncio.get_running_loop().call_soon(lambda: begun.append(begin(idle)))
        await asyncio.sleep(0)

    asyncio.run(main())
    assert len(begun[0].commands) == 1


def test_r27_it_is_not_nested() -> None:
    other = replay(idle)

    async def body() -> None:
        other.when(ev.RunStarted())

    assert isinstance(begin(body).failure, RuntimeError)
    assert other.when(ev.RunStarted()).commands != []


@pytest.mark.usefixtures("_impatient")
def test_r27_the_loop_of_the_thread_is_back_after_it_however_it_ends() -> None:
    async def body() -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(NeverIdle):
        begin(body)
    assert asyncio._get_running_loop() is None


@pytest.mark.parametrize(
    "call",
    [
        lambda loop: loop.set_task_factory(None),
        lambda loop: loop.run_until_complete(None),
        lambda loop: loop.run_forever(),
        lambda loop: loop.stop(),
        lambda loop: loop.close(),
        lambda loop: loop.set_exception_handler(None),
        lambda loop: loop.set_default_executor(None),
        lambda loop: loop.add_signal_handler(2, print),
        lambda loop: loop.add_reader(0, print),
        lambda loop: loop.run_in_executor(None, print),
        lambda loop: loop.getaddrinfo("localhost", 1),
        lambda loop: loop.create_connection(None),
        lambda loop: loop.subprocess_exec(None),
    ],
)
def test_r27_what_leaves_the_deterministic_world_raises(call: Callable[[Any], object]) -> None:
    async def body() -> None:
        call(asyncio.get_running_loop())

    failure = begin(body).failure
    assert isinstance(failure, NonDeterminismError)
    assert "leaves the deterministic world" in str(failure) and ";" in str(failure)


@pytest.mark.parametrize(
    "call",
    [
        lambda: asyncio.to_thread(print),
        lambda: asyncio.open_connection("localhost", 1),
        lambda: asyncio.start_server(print, "localhost", 1),  # type: ignore[arg-type]
        lambda: asyncio.create_subprocess_exec("true"),
        lambda: asyncio.create_subprocess_shell("true"),
    ],
)
def test_r27_also_by_its_high_level_name(call: Callable[[], Any]) -> None:
    async def body() -> None:
        await call()

    assert isinstance(begin(body).failure, NonDeterminismError)


def test_r27_every_method_of_a_loop_is_answered() -> None:
    """A new CPython that adds one needs a look here."""
    left = {
        name
        for name, there in vars(asyncio.AbstractEventLoop).items()
        if callable(there) and not name.startswith("__") and getattr(DeterministicLoop, name) is there
    }
    assert left == set()


def test_r27_asyncio_run_and_runners_are_refused_in_a_body() -> None:
    async def nothing() -> None: ...

    async def body() -> list[str]:
        told: list[str] = []
        for start in (asyncio.run, asyncio.Runner().run):
            coroutine = nothing()
            try:
                start(coroutine)
            except (RuntimeError, NonDeterminismError) as error:
                told.append(type(error).__name__)
            coroutine.close()
        return told

    assert begin(body).result == ["RuntimeError", "RuntimeError"]


def test_r27_eager_tasks_are_refused() -> None:
    async def body() -> None:
        with contextlib.closing(sleep(5)) as coroutine:
            asyncio.get_running_loop().create_task(coroutine, eager_start=True)  # type: ignore[call-arg]

    assert isinstance(begin(body).failure, NonDeterminismError)


def test_the_loop_says_what_it_is() -> None:
    async def body() -> list[bool]:
        loop = asyncio.get_running_loop()
        loop.set_debug(True)
        return [loop.is_running(), loop.is_closed(), loop.get_debug(), asyncio.get_event_loop() is loop]

    assert begin(body).result == [True, False, False, True]


def test_what_is_reported_to_the_loop_is_shown_at_the_end() -> None:
    async def body() -> None:
        loop = asyncio.get_running_loop()
        assert loop.get_exception_handler() is None and loop.get_task_factory() is None
        loop.default_exception_handler({"message": "odd", "exception": ValueError("by hand")})

    outcome = begin(body).outcome
    assert outcome is not None and "by hand" in outcome.unretrieved[0]


def test_the_loop_is_not_running_between_activations() -> None:
    loop = begin(idle).machine.loop
    assert not loop.is_running()
    assert asyncio._get_running_loop() is None


# --- R28 ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outlive._core.loop.MAX_CALLBACKS", 1_000)


def test_r28_a_body_that_spins_is_never_idle() -> None:
    async def body() -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(NeverIdle):
        begin(body)


@pytest.mark.usefixtures("_impatient")
def test_r28_so_is_one_that_catches_everything() -> None:
    async def body() -> None:
        while True:
            try:
                await asyncio.sleep(0)
            except BaseException:
                pass

    with pytest.raises(NeverIdle):
        begin(body)


@pytest.mark.usefixtures("_impatient")
def test_r28_so_are_callbacks_that_call_each_other() -> None:
    async def body() -> None:
        loop = asyncio.get_running_loop()

        def again() -> None:
            loop.call_soon(again)

        again()
        await charge(1)

    with pytest.raises(NeverIdle):
        begin(body)


def test_r28_a_wide_body_is_not() -> None:
    async def body() -> int:
        return len(await asyncio.gather(*(work(str(n)) for n in range(2_000))))

    story = begin(body)
    assert len(story.commands) == 2_000 < MAX_CALLBACKS


@pytest.mark.usefixtures("_impatient")
def test_r28_what_was_found_to_be_endless_can_be_dropped() -> None:
    async def body() -> None:
        while True:
            await asyncio.sleep(0)

    story = replay(body)
    with pytest.raises(NeverIdle):
        story.when(ev.RunStarted())
    story.drop()
    assert story.machine.loop.tasks == []


def test_callbacks_run_in_the_order_in_which_they_were_scheduled() -> None:
    async def body() -> list[int]:
        loop, order = asyncio.get_running_loop(), list[int]()
        for number in range(5):
            loop.call_soon(order.append, number)
        loop.call_later(0, order.append, 5)
        loop.call_at(0, order.append, 6)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return order

    assert begin(body).result == list(range(7))


def test_a_handle_that_was_cancelled_does_not_run() -> None:
    async def body() -> list[int]:
        loop, order = asyncio.get_running_loop(), list[int]()
        loop.call_soon(order.append, 1).cancel()
        loop.call_later(0, order.append, 2).cancel()
        await asyncio.sleep(0)
        return order

    assert begin(body).result == []


def test_time_in_the_log_may_stand_still() -> None:
    async def body() -> list[str]:
        return await asyncio.gather(*(work(str(n), 0) for n in range(3)))

    played = simulate(body)
    assert (played.result, played.took) == (["0", "1", "2"], 0)
    assert played.log[-1] == Recorded(6, START, played.log[-1].event)
