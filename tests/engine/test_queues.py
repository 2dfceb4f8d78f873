"""Steps in queues: any worker that serves one may run them; nothing is lost, doubled or left behind."""

from __future__ import annotations

import asyncio
import enum
import functools
from collections import Counter
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import Raw

import outlive
from outlive import Engine, FatalError, StepInterrupted, StoreUnavailable, get_step_metadata, step, workflow
from outlive._core.registry import Registry
from outlive._runtime import outbox
from outlive.model import events as ev
from outlive.model.entries import Claims, Entry, Outcome, RunCommit, TaskCommit
from outlive.model.ids import WorkerId
from outlive.model.tasks import GIVEN_UP_AFTER
from outlive.stores.memory import MemoryStore
from outlive.testing.clock import VirtualClock, virtual_options
from outlive.testing.conformance.queues import scheduled
from outlive.testing.crash import kill

from .conftest import MakeEngine

RAN: list[object] = []
RUNNING: Counter[str] = Counter()
PEAK: Counter[str] = Counter()
ATTEMPTS: Counter[str] = Counter()


@pytest.fixture(autouse=True)
def forget() -> None:
    for seen in (RAN, RUNNING, PEAK, ATTEMPTS, ARMED):
        seen.clear()


@step(queue="gpu")
async def render(frame: int) -> int:
    RAN.append(frame)
    RUNNING["gpu"] += 1
    PEAK["gpu"] = max(PEAK["gpu"], RUNNING["gpu"])
    try:
        await asyncio.sleep(30)
    finally:
        RUNNING["gpu"] -= 1
    return frame * 10


@step(queue="gpu")
async def endless(name: str) -> None:
    RAN.append(name)
    try:
        await asyncio.sleep(1e6)
    except asyncio.CancelledError:
        RAN.append("cancelled")
        raise


@step(queue="gpu")
async def short() -> str:
    await asyncio.sleep(5)
    return "done after all"


@step(queue="gpu")
async def deaf() -> None:
    RAN.append("deaf")
    try:
        await asyncio.sleep(1e6)
    except asyncio.CancelledError:
        await asyncio.sleep(1e6)  # it tidies up for long


@step(queue="gpu", max_retries=2, retry_delay=5)
async def fragile(name: str) -> str:
    ATTEMPTS[name] += 1
    if ATTEMPTS[name] < 3:
        raise ValueError(f"attempt {get_step_metadata().attempt}")
    return f"{name} after {get_step_metadata().attempt}"


@step(queue="gpu", at_most_once=True)
async def pay(name: str) -> str:
    RAN.append(name)
    await asyncio.sleep(30)
    return "paid"


@step(queue="gpu")
async def tell(lines: int) -> str:
    out = outlive.get_writable("out")
    for line in range(lines):
        await out.write(f"{get_step_metadata().attempt}:{line}")
    ATTEMPTS["tell"] += 1
    if ATTEMPTS["tell"] == 1:
        raise ValueError("again")
    return "told"


@step(queue="cpu")
def blocking(number: int) -> int:
    return number + 1


@step(queue="gpu")
async def doomed() -> None:
    raise FatalError("no")


@workflow
async def film(frames: int) -> list[int]:
    return list(await asyncio.gather(*(render(frame) for frame in range(frames))))


@workflow
async def one(name: str) -> object:
    match name:
        case "fragile":
            return await fragile("f")
        case "tell":
            return await tell(3)
        case "blocking":
            return await blocking(1)
        case "doomed":
            await doomed()
        case "short":
            return await short()
        case "pay":
            try:
                return await pay("p")
            except StepInterrupted as error:
                return f"interrupted: {error}"
        case "deaf":
            try:
                async with asyncio.timeout(10):
                    await deaf()
            except TimeoutError:
                return "too late"
        case _:
            await endless(name)
    return None


@workflow
async def hurried() -> str:
    try:
        async with asyncio.timeout(10):
            await endless("slow")
    except TimeoutError:
        return "too late"
    return "done"


@workflow
async def raced() -> str:
    name, _ = await outlive.race(slow=endless("loser"), quick=outlive.sleep(3))
    return name


@workflow
async def three_race() -> str:
    name, _ = await outlive.race(quick=short(), slow=endless("a"), slower=endless("b"))
    return name


@workflow
async def photo_finish() -> str:
    name, _ = await outlive.race(a=render(1), b=render(2))
    return name


@workflow
async def ordered() -> None:
    await asyncio.gather(
        render.options(priority=5)(5), render.options(priority=-1)(-1), render(0), render.options(priority=5)(6)
    )


@pytest.fixture
def workers(make_engine: MakeEngine) -> MakeEngine:
    """Engines that ask what others have done."""
    return functools.partial(make_engine, poll=1.0, look_every=1.0)


async def kinds(engine: Engine, run: str) -> list[str]:
    record = await engine.store.run(outlive.get_run(run).id)  # type: ignore[arg-type]
    assert record is not None
    return [ev.kind_of(item.event) for item in await engine.store.log(record.id, record.link)]


async def sound(engine: Engine) -> None:
    assert await engine.store.audit() == []
    assert [q.running for q in await engine.store.queues() if q.running] == []


async def test_steps_of_one_run_are_run_by_all_workers_that_serve_their_queue(workers: MakeEngine) -> None:
    async with workers(max_queued=2) as first, workers(max_queued=2, queues=("gpu",)):
        run = await first.start(film, 6)
        assert await run.result() == [0, 10, 20, 30, 40, 50]
        assert sorted(RAN) == list(range(6)), "each ran once"
        assert PEAK["gpu"] == 4, "two on each worker"
        await sound(first)


async def test_a_step_waits_visibly_until_a_worker_serves_its_queue(workers: MakeEngine) -> None:
    async with workers(queues=("default",)) as first:
        run = await first.start(film, 2)
        await asyncio.sleep(600)
        assert await run.status() == "running"
        [queue] = [queue for queue in await first.store.queues() if queue.name == "gpu"]
        assert (queue.waiting, queue.running, queue.served) == (2, 0, 0)
        assert [task.owner for task in await first.store.tasks(run.id)] == [None, None]  # type: ignore[arg-type]
        async with workers(queues=("gpu",)) as second:
            assert await run.result() == [0, 10]
            await sound(second)


async def test_a_step_that_no_living_worker_knows_waits_and_is_not_failed(workers: MakeEngine) -> None:
    knows_nothing = Registry()
    async with workers(queues=("default",)) as first:
        run = await first.start(film, 1)
        async with workers(registry=knows_nothing):
            await asyncio.sleep(600)
            assert await run.status() == "running"
            async with workers():
                assert await run.result() == [0]


async def test_a_run_is_not_in_memory_while_its_step_waits(workers: MakeEngine) -> None:
    async with workers(queues=("default",)) as first:
        run = await first.start(film, 1)
        await asyncio.sleep(60)
        assert first.worker is not None and not first.worker.hot
        async with workers(queues=("gpu",)):
            assert await run.result() == [0]


async def test_a_queue_has_as_many_slots_as_its_limit_across_all_workers(workers: MakeEngine) -> None:
    async with workers() as first, workers():
        await first.store.limit_queue("gpu", 3)
        run = await first.start(film, 9)
        assert await run.result() == [frame * 10 for frame in range(9)]
        assert PEAK["gpu"] == 3
        await sound(first)


async def test_slots_of_a_dead_worker_are_free_again(workers: MakeEngine) -> None:
    async with workers(queues=("default",)) as first:
        await first.store.limit_queue("gpu", 1)
        dead = workers(queues=("gpu",))
        await dead.open()
        run = await first.start(film, 2)
        await asyncio.sleep(5)
        assert RAN == [0]
        await kill(dead)
        async with workers(queues=("gpu",)) as second:
            assert await run.result() == [0, 10]
            assert Counter(RAN)[0] == 2, "the attempt of the dead worker is done again"
            await sound(second)


async def test_a_worker_takes_no_more_of_a_queue_than_it_is_told(workers: MakeEngine) -> None:
    async with workers(queue_limits={"gpu": 1}) as first:
        run = await first.start(film, 3)
        assert await run.result() == [0, 10, 20]
        assert PEAK["gpu"] == 1


async def test_the_lowest_priority_goes_first_and_the_oldest_of_those(workers: MakeEngine) -> None:
    async with workers(queues=("default",)) as first:
        run = await first.start(ordered)
        await asyncio.sleep(5)
        async with workers(queues=("gpu",), queue_limits={"gpu": 1}):
            await run.result()
    assert RAN == [-1, 0, 5, 6]


async def test_a_failed_attempt_goes_into_the_queue_again_after_its_pause(workers: MakeEngine) -> None:
    async with workers() as first:
        run = await first.start(one, "fragile")
        assert await run.result() == "f after 3"
        assert [kind for kind in await kinds(first, run.id) if kind.startswith("step")] == [
            *("step_scheduled", "step_retrying"),
            *("step_scheduled", "step_retrying"),
            *("step_scheduled", "step_completed"),
        ]
        await sound(first)


async def test_a_fatal_error_ends_the_run(workers: MakeEngine) -> None:
    async with workers() as first:
        run = await first.start(one, "doomed")
        with pytest.raises(outlive.RunFailed, match="no"):
            await run.result()
        await sound(first)


async def test_blocking_steps_run_in_threads(workers: MakeEngine) -> None:
    async with workers() as first:
        assert await (await first.start(one, "blocking")).result() == 2


async def test_what_a_failed_attempt_wrote_to_a_stream_does_not_stand(workers: MakeEngine) -> None:
    async with workers() as first:
        run = await first.start(one, "tell")
        assert await run.result() == "told"
        assert [item async for item in run.stream("out")] == ["2:0", "2:1", "2:2"]
        await sound(first)


@pytest.mark.parametrize("served", [True, False])
async def test_a_deadline_cancels_the_step_wherever_it_is(workers: MakeEngine, *, served: bool) -> None:
    async with workers(queues=None if served else ("default",)) as first:
        run = await first.start(hurried)
        assert await run.result() == "too late"
        assert (["slow", "cancelled"] if served else []) == RAN
        await sound(first)
        assert await first.store.tasks(run.id) == []  # type: ignore[arg-type]


async def test_a_deadline_reaches_the_step_on_another_worker(workers: MakeEngine) -> None:
    async with workers(queues=("default",)) as first, workers(queues=("gpu",)):
        run = await first.start(hurried)
        assert await run.result() == "too late"
        assert RAN == ["slow", "cancelled"]
        await sound(first)


async def test_a_step_that_was_cancelled_as_its_worker_died_ends(workers: MakeEngine) -> None:
    async with workers(queues=("default",)) as first:
        dead = workers(queues=("gpu",), cancel_grace=1e6)
        await dead.open()
        run = await first.start(one, "deaf")
        await asyncio.sleep(15)
        assert RAN == ["deaf"], "it does not listen"
        await kill(dead)
        assert await run.result() == "too late"
        await sound(first)


async def test_a_step_that_lost_a_race_runs_on_for_nobody(workers: MakeEngine) -> None:
    async with workers() as first:
        run = await first.start(raced)
        assert await run.result() == "quick"
        [task] = await first.store.tasks(run.id)  # type: ignore[arg-type]
        assert task.void, "it holds its slot"
        assert await first.store.audit() == []


async def test_two_that_end_at_once_end_once_each(workers: MakeEngine) -> None:
    """The body is done with the first; that the second has ended too is in the log already."""
    async with workers(queues=("default",)) as first, workers(queues=("gpu",)):
        runs = [await first.start(photo_finish) for _ in range(3)]
        assert {await run.result() for run in runs} <= {"a", "b"}
        await sound(first)
        for run in runs:
            assert (
                sorted(kind for kind in await kinds(first, run.id) if kind.startswith("step_c"))
                == ["step_completed"] * 2
            )


async def test_terminating_a_run_ends_its_steps(workers: MakeEngine) -> None:
    async with workers() as first:
        run = await first.start(one, "slow")
        await asyncio.sleep(5)
        await run.terminate("enough")
        await asyncio.sleep(5)
        assert RAN == ["slow", "cancelled"]
        await sound(first)
        assert await first.store.tasks(run.id) == []  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["memory-hot"])
async def test_what_ends_while_the_end_of_its_run_is_written_in_parts_ends_once(
    workers: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that lost are cancelled in two commits; the second of them ends before the first commit, which takes that in."""
    monkeypatch.setattr("outlive._runtime.outbox.MAX_PROPOSALS", 1)
    async with workers(queues=("default",)) as first, workers(queues=("gpu",)) as second:
        worker, commit_now = second.worker, first.store.commit_now
        assert worker is not None
        late: list[Outcome] = []

        def commit(by: WorkerId | None, entries: Sequence[Entry]) -> list[Outcome] | None:
            for entry in entries:
                if (
                    isinstance(entry, RunCommit)
                    and type(next(iter(entry.proposals), None)) is ev.StepCancelled
                    and not late
                ):
                    [key] = [key for key in worker.queues.held if key.ref == 3]
                    call = worker.queues.held[key].call
                    end = ev.StepCompleted(ref=3, name=call.name, digest=call.digest, result=Raw(b"1"), started=1.0)
                    late.extend(
                        commit_now(worker.id, [TaskCommit(run=key.run, link=1, ref=3, attempt=1, ending=end)]) or []
                    )
            return commit_now(by, entries)

        monkeypatch.setattr(first.store, "commit_now", commit)
        run = await first.start(three_race)
        assert await run.result() == "quick" and len(late) == 1
        ended = [(event.kind, event.ref) for event in await run.events() if event.kind.startswith("step_c")]
        assert sorted(ended, key=lambda entry: entry[1]) == [
            ("step_completed", 1),
            ("step_cancelled", 2),
            ("step_completed", 3),
        ]
        assert await first.store.audit() == []


@pytest.mark.parametrize("parked", [False, True])
async def test_a_result_that_nobody_took_in_is_recorded_when_its_run_is_terminated(
    workers: MakeEngine, *, parked: bool
) -> None:
    owner = workers(queues=("default",))
    await owner.open()
    run = await owner.start(film, 2)
    if parked:
        assert owner.worker is not None
        while run.id not in owner.worker.hot:
            await asyncio.sleep(0.01)
        owner.worker.hot[run.id].park("its code is wrong", "")
    await asyncio.sleep(5)
    await kill(owner)
    async with workers(queues=("gpu",)) as other:
        run = other.get_run(run.id)
        await asyncio.sleep(60)
        assert await run.status() == ("parked" if parked else "running")
        assert await run.terminate("enough")
        events = [event.kind for event in await run.events()]
        assert events.count("step_completed") == 2 and events[-1] == "run_terminated"
        await sound(other)


async def test_r10_at_most_once_is_not_run_again_by_another_worker(workers: MakeEngine) -> None:
    async with workers(queues=("default",)) as first:
        dead = workers(queues=("gpu",))
        await dead.open()
        run = await first.start(one, "pay")
        await asyncio.sleep(5)
        await kill(dead)
        async with workers(queues=("gpu",)):
            assert "whether it acted is unknown" in str(await run.result())
    assert RAN == ["p"]


async def test_r31_a_step_that_kills_its_workers_is_given_up(workers: MakeEngine) -> None:
    async with workers(queues=("default",)) as first:
        run = await first.start(film, 1)
        for _ in range(GIVEN_UP_AFTER):
            dead = workers(queues=("gpu",))
            await dead.open()
            await asyncio.sleep(5)
            await kill(dead)
            await asyncio.sleep(2)
        async with workers(queues=("gpu",)):
            with pytest.raises(outlive.RunFailed, match="times a worker died"):
                await run.result()
    assert len(RAN) == GIVEN_UP_AFTER


@pytest.mark.parametrize("deadly", [1, 12])
async def test_r31_a_step_that_kills_its_worker_beside_others_is_found_and_costs_them_nothing(
    workers: MakeEngine, deadly: float
) -> None:
    """One worker for all; what it has takes longer than the one that kills it, so that nothing ends beside that."""
    async with workers(worker=False) as client:
        run = await client.start(among, 5)
        found = asyncio.ensure_future(run.result())
        lives = 0
        while lives < 20:
            lives += 1
            engine = workers()
            await engine.open()
            for _ in range(1000):
                await asyncio.sleep(1)
                if found.done() or (ARMED and ARMED[0] + deadly <= asyncio.get_running_loop().time()):
                    break
            if found.done():
                break
            ARMED.clear()
            await kill(engine)
            await asyncio.sleep(20)  # longer than a lease
        assert found.done()
        *harmless, killer = await found
        await sound(client)
        await engine.close()
    assert harmless == [0, 10, 20, 30, 40]
    assert "times a worker died while only" in killer and "kills" in killer


async def test_r31_a_step_that_kills_is_found_though_a_run_has_a_long_step_of_its_own(workers: MakeEngine) -> None:
    """That run has done nothing either since its worker died, so neither is charged while they are taken together."""
    async with workers(worker=False) as client:
        await client.start(busy.options(run_id="innocent"))
        found = asyncio.ensure_future((await client.start(among, 0)).result())
        for _ in range(60):
            engine = workers()
            await engine.open()
            while not ARMED and not found.done():
                await asyncio.sleep(1)
            await asyncio.sleep(1)
            if found.done():
                break
            ARMED.clear()
            await kill(engine)
            await asyncio.sleep(20)  # longer than a lease
        assert found.done()
        [killer] = await found
        assert "times a worker died while only" in str(killer)
        assert await client.get_run("innocent").status() == "running"
        await sound(client)
        await engine.close()


async def test_r31_no_step_is_failed_for_what_a_run_does_that_goes_on_each_time(workers: MakeEngine) -> None:
    """It is never suspected, since each of its lives adds something to its log; a step of 5 s never lives to its end beside it."""
    async with workers(worker=False) as client:
        await client.start(deadly_but_busy.options(run_id="deadly"))
        done = asyncio.ensure_future((await client.start(one, "short")).result())
        for _ in range(40):
            engine = workers()
            await engine.open()
            for _ in range(200):
                await asyncio.sleep(0.1)
                if done.done() or (ARMED and ARMED[0] + 1 <= asyncio.get_running_loop().time()):
                    break
            if done.done():
                break
            ARMED.clear()
            await kill(engine)
            await asyncio.sleep(20)
        assert done.done()
        assert await done == "done after all"
        await client.get_run("deadly").terminate()
        await sound(client)
        await engine.close()


async def suspected(workers: MakeEngine, client: Engine, name: str) -> None:
    """The step of the run ``suspect`` has seen four workers die, and has to be alone from now on."""
    await client.start(one.options(run_id="suspect"), name)
    for _ in range(4):
        dead = workers()
        await dead.open()
        await asyncio.sleep(2)
        await kill(dead)
        await asyncio.sleep(20)  # longer than a lease


@pytest.mark.parametrize("slow", [False, True])
async def test_r31_a_busy_worker_makes_way_for_what_has_to_be_alone(
    workers: MakeEngine, monkeypatch: pytest.MonkeyPatch, slow: bool
) -> None:
    """Also where its last run leaves while a look is on its way."""
    async with workers(worker=False) as client:
        await suspected(workers, client, "short")
        await client.limit_queue("gpu", 0)  # until the worker is busy
        flow = [await client.start(mulling, 10)]
        async with workers() as worker:
            inner, claim = worker._worker, worker.store.claim
            assert inner is not None

            async def slow_claim(*args: Any, **options: Any) -> Claims:
                claims = await claim(*args, **options)
                while slow and inner.suspects.making_way and inner.busy:
                    await asyncio.sleep(0.1)
                return claims

            monkeypatch.setattr(worker.store, "claim", slow_claim)
            await asyncio.sleep(5)
            await client.limit_queue("gpu", None)
            suspect = asyncio.ensure_future(client.get_run("suspect").result(timeout=300))
            while not suspect.done():
                await asyncio.sleep(3)
                flow.append(await client.start(mulling, 10))  # there is always one
            assert await suspect == "done after all"
            assert {await run.result() for run in flow} == {10}
            await sound(worker)


async def test_r31_runs_do_not_wait_for_a_step_that_waits_for_another_one(workers: MakeEngine) -> None:
    """Making way for it would be in vain for 10 minutes: a step that was taken lately is in its way."""
    async with workers(worker=False) as client:
        await suspected(workers, client, "short")
        await client.limit_queue("gpu", 0)
        async with workers() as worker:
            await client.start(long_calculation.options(run_id="long"))
            await client.start(busy.options(run_id="busy"))
            await asyncio.sleep(5)
            await client.limit_queue("gpu", None)
            for _ in range(20):
                assert await (await client.start(mulling, 1)).result(timeout=30) == 1
            assert await client.get_run("suspect").result(timeout=2000) == "done after all"
            for endless_one in ("long", "busy"):
                await client.get_run(endless_one).terminate()
            await asyncio.sleep(20)
            await sound(worker)


async def test_r31_what_waits_to_be_alone_does_not_stop_a_worker_for_hours(workers: MakeEngine) -> None:
    async with workers(worker=False) as client:
        await suspected(workers, client, "endless")
        await client.limit_queue("gpu", 0)
        async with workers() as last:
            await client.start(long_calculation.options(run_id="long"))
            await asyncio.sleep(5)
            await client.limit_queue("gpu", None)
            later = await client.start(blockings.options(run_id="later"), 1)
            await asyncio.sleep(60)
            assert await later.status() == "running", "it makes way for what has to be alone"
            assert await later.result(timeout=1000) == [1]
            assert RAN.count("endless") == 5, "it is tried beside what will not end soon"
            assert await last.store.audit() == []


def test_what_goes_into_its_queue_with_a_later_commit_is_cancelled_with_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cancel that left before was for a step that no store knew yet, which was taken for one that had ended."""
    monkeypatch.setattr(outbox, "MAX_PROPOSALS", 2)
    hot: Any = SimpleNamespace(
        run="r", link=1, epoch=1, seq=2, streaming=False, in_transaction=lambda _ref: False, undelivered=tuple
    )
    box = outbox.Outbox(hot)
    box.proposals = [scheduled(ref) for ref in (1, 2, 3)]
    box.cancel_tasks, box.take = [1, 3], True
    first = box.collect(release=False, judge=None, time=None)
    assert first is not None and (first.cancel_tasks, first.take) == ((1,), True)
    box.put_back()
    first = box.collect(release=False, judge=None, time=None)
    assert first is not None and first.cancel_tasks == (1,)
    box.settled()
    second = box.collect(release=False, judge=None, time=None)
    assert second is not None and (second.cancel_tasks, second.take) == ((3,), True)


@step
async def mull() -> None:
    await asyncio.sleep(1e6)


@workflow
async def busy() -> None:
    await mull()


@step
async def tick(seconds: float) -> None:
    await asyncio.sleep(seconds)


@workflow
async def mulling(times: int) -> int:
    for _ in range(times):
        await tick(1)
    return times


@step(max_retries=0)
async def kills_here() -> None:
    ARMED.append(asyncio.get_running_loop().time())
    await asyncio.sleep(1e6)


@workflow
async def deadly_but_busy() -> None:
    """Each life records a few steps before the other one ends it."""
    async with asyncio.TaskGroup() as group:
        group.create_task(kills_here())
        for _ in range(1000):
            await tick(0.2)


@step(queue="cpu")
async def calculate() -> None:
    await asyncio.sleep(1e6)


@workflow
async def long_calculation() -> None:
    await calculate()


@workflow
async def blockings(count: int) -> list[int]:
    return list(await asyncio.gather(*(blocking(n) for n in range(count))))


ARMED: list[float] = []


@step(queue="gpu", max_retries=0)
async def kills() -> None:
    ARMED.append(asyncio.get_running_loop().time())
    await asyncio.sleep(1e6)


@workflow
async def among(others: int) -> list[object]:
    ended = await asyncio.gather(*(render(n) for n in range(others)), kills(), return_exceptions=True)
    return [str(found) if isinstance(found, StepInterrupted) else found for found in ended]


async def test_the_owner_of_the_run_may_die_while_its_step_runs_elsewhere(workers: MakeEngine) -> None:
    async with workers(queues=("gpu",)):
        owner = workers(queues=("default",))
        await owner.open()
        run = await owner.start(film, 3)
        await asyncio.sleep(5)
        await kill(owner)
        async with workers(queues=("default",)) as second:
            assert await second.get_run(run.id).result() == [0, 10, 20]
            assert sorted(RAN) == [0, 1, 2], "what was recorded is not done again"
            await sound(second)


async def test_a_worker_that_lost_its_lease_writes_nothing(workers: MakeEngine) -> None:
    async with workers(queues=("default",)) as first, workers(queues=("gpu",)) as zombie:
        run = await first.start(film, 1)
        await asyncio.sleep(5)
        assert zombie.worker is not None
        await zombie.store.leave(zombie.worker.id)
        zombie.worker.lease_lost(zombie.worker.lease)
        assert await run.result() == [0]
        assert len(RAN) == 2, "it joined anew, and did it again"
        await sound(first)


@workflow
async def parent() -> str:
    child = await outlive.start(where.options(queue="eu", run_id="child"))
    return await child.result()


@workflow
async def where() -> str:
    return await local()


@step
async def local() -> str:
    RAN.append("local")
    return "done"


async def test_a_run_goes_to_who_serves_its_queue(workers: MakeEngine) -> None:
    async with workers(queues=("default",)) as first:
        run = await first.start(parent)
        other = await first.start(where.options(queue="eu"))
        await asyncio.sleep(600)
        assert (await run.status(), await other.status()) == ("running", "pending")
        assert (await other.info()).queue == "eu"
        async with workers(queues=("eu",)) as second:
            assert await other.result() == "done"
            assert await run.result() == "done"
            assert (await second.get_run("child").info()).queue == "eu"


async def test_a_workflow_awaited_inside_another_runs_where_that_does(workers: MakeEngine) -> None:
    async with workers(queues=("default",)) as first:
        assert await (await first.start(inline)).result() == "done"


@workflow
async def inline() -> str:
    return await where()


@pytest.mark.parametrize("name", ["", ".dot", "a/b", "a b", "a" * 129, "\x00"])
def test_s17_a_queue_has_a_plain_name(name: str) -> None:
    with pytest.raises(ValueError, match="name of a queue"):
        where.options(queue=name)
    if name:
        with pytest.raises(ValueError, match="name of a queue"):
            step(queue=name)


@pytest.mark.parametrize(
    "options", [{"priority": 1}, {"queue": "q", "transaction": True}, {"queue": "q", "priority": 2**40}]
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        step(**options)  # type: ignore[call-overload]


async def test_a_run_whose_step_is_not_known_here_is_parked_for_code_that_knows_it(workers: MakeEngine) -> None:
    knows_half = Registry()
    knows_half.workflows.add(where)
    async with workers(registry=knows_half) as first:
        run = await first.start(where)
        await asyncio.sleep(10)
        assert await run.status() == "parked"
        assert "start a worker that imports" in str([e.data for e in await run.events() if e.kind == "run_parked"])
        async with workers():
            assert await run.result() == "done"
    assert RAN == ["local"]


@pytest.mark.parametrize("of", ["a run", "a step"])
async def test_what_was_claimed_though_no_answer_came_is_taken_up(clock: VirtualClock, of: str) -> None:
    store = SlowToAnswer(clock=clock)
    async with Engine(store=store, clock=clock, options=virtual_options(poll=1.0, look_every=1.0)) as engine:
        if of == "a run":
            async with Engine(store=store, clock=clock, worker=False, options=virtual_options()) as client:
                store.lost = True
                run = await client.start(film, 1)
                assert await engine.get_run(run.id).result(timeout=100) == [0]
        else:
            store.lost = True
            assert await (await engine.start(film, 1)).result(timeout=100) == [0]
    assert not store.lost


class SlowToAnswer(MemoryStore):
    """Its claims are answered when the gate is open."""

    gate: asyncio.Event | None = None
    lost = False
    """Something was claimed, and its worker hears of an error."""

    async def claim(self, *args: Any, **options: Any) -> Claims:
        claims = await super().claim(*args, **options)
        if self.lost and (claims.tasks or claims.runs):
            self.lost = False
            raise StoreUnavailable("no answer came")
        if self.gate is not None and claims.tasks:
            await self.gate.wait()
        return claims


async def test_what_was_claimed_under_a_lease_that_is_lost_by_then_does_not_begin(clock: VirtualClock) -> None:
    store = SlowToAnswer(clock=clock)
    async with Engine(store=store, clock=clock, options=virtual_options(poll=1.0, look_every=1.0)) as engine:
        assert engine.worker is not None
        store.gate = asyncio.Event()
        run = await engine.start(film, 1)
        await asyncio.sleep(5)
        lost = engine.worker.id
        await store.leave(lost)
        engine.worker.lease_lost(engine.worker.lease)
        store.gate.set()
        store.gate = None
        await asyncio.sleep(0.001)
        assert all(task.owner != lost for task in await store.tasks(run.id))  # type: ignore[arg-type]
        assert await run.result() == [0]
        assert RAN == [0]


class Urgency(enum.IntEnum):
    HIGH = -1


@pytest.mark.parametrize("name", ["priority", "max_retries"])
@pytest.mark.parametrize("value", [True, 1.5, "1"])
def test_what_would_not_come_back_from_the_store_is_refused_at_the_call(name: str, value: object) -> None:
    with pytest.raises(TypeError, match=f"{name} is a whole number"):
        render.options(**{name: value})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=f"{name} is a whole number"):
        step(queue="gpu", **{name: value})  # type: ignore[call-overload]


async def test_options_are_stored_as_what_they_mean(workers: MakeEngine) -> None:
    options = render.options(priority=Urgency.HIGH, at_most_once=1, max_retries=0).step_options  # type: ignore[arg-type]
    assert (type(options.priority), options.priority, options.at_most_once) == (int, -1, True)


@pytest.mark.parametrize("queues", [["a b"], [""], [5], {"a": 0}, {"a": -1}, {"a": 1.5}, {"a": "2"}, {"a": True}])
def test_what_an_engine_can_not_serve_is_refused(queues: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        Engine("memory://", queues=queues)


@pytest.mark.parametrize("limit", [-1, 1.5, "3", True, 2**63])
async def test_what_is_no_limit_is_refused(workers: MakeEngine, limit: Any) -> None:
    async with workers() as engine:
        with pytest.raises((TypeError, ValueError)):
            await engine.limit_queue("gpu", limit)
