"""Streams: in order, once, of one attempt, from any process, whatever dies (G1 to G9)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from outlive import (
    Engine,
    NonDeterminismError,
    Readable,
    Run,
    RunNotFound,
    SerializationError,
    StreamReset,
    Writable,
    continue_as_new,
    create_hook,
    get_step_metadata,
    get_workflow_metadata,
    get_writable,
    progress,
    sleep,
    start,
    step,
    workflow,
)
from outlive.errors import UsageError

from .conftest import MakeEngine
from .helpers import effects, record


@step
async def count(stream: Writable, number: int) -> int:
    for value in range(number):
        await stream.write(value)
    return number


@step
def count_in_a_thread(number: int) -> int:
    stream = get_writable("thread")
    for value in range(number):
        stream.put(value)
    return number


@workflow
async def counts(number: int) -> int:
    return await count(get_writable(), number)


@workflow
async def counts_in_a_thread(number: int) -> int:
    return await count_in_a_thread(number)


@step
async def mixed() -> None:
    stream = get_writable("mixed")
    await stream.write(b"\x00raw\xff")
    await stream.write({"a": (1, 2)})
    await stream.close()
    with pytest.raises(SerializationError):
        await stream.write(object())


@workflow
async def writes_itself() -> None:
    stream = get_writable("mixed")
    await stream.write("from the body")
    await mixed()


@step(max_retries=5, retry_delay=10)
async def fails_twice() -> int:
    stream = get_writable()
    attempt = get_step_metadata().attempt
    for number in range(3):
        await stream.write((attempt, number))
    await stream.flush()
    await asyncio.sleep(1)
    if attempt < 3:
        raise RuntimeError("again")
    return attempt


@workflow
async def retries() -> int:
    return await fails_twice()


@step
async def waits_in_the_middle() -> None:
    stream = get_writable()
    await stream.write("before")
    await stream.flush()
    record("written")
    await asyncio.sleep(60)
    await stream.write("after")


@workflow
async def dies_in_the_middle() -> None:
    await waits_in_the_middle()


@step
async def reads(stream: Readable) -> list[Any]:
    return [value async for value in stream]


@workflow
async def passes_a_stream_on(other: str) -> list[Any]:
    return await reads(Readable(other, "default", -2))


@workflow
async def reads_in_the_body() -> None:
    async for _ in Readable(get_workflow_metadata().run_id, "default"):
        pass


@step
async def writes_elsewhere(stream: Writable) -> None:
    await stream.write(1)


@workflow
async def child(stream: Writable) -> None:
    await writes_elsewhere(stream)


@workflow
async def lends_its_stream() -> None:
    await (await start(child, get_writable())).result()


@step
async def works(total: int) -> None:
    for done in range(total + 1):
        await progress(done, total, "items")


@workflow
async def makes_progress() -> None:
    await works(1_000)


@workflow
async def a_link(number: int) -> None:
    await count(get_writable(), 2)
    if number < 2:
        continue_as_new(number + 1)


@workflow
async def idles() -> None:
    await create_hook(token="end")


async def read(run: Run[Any], name: str = "default", start: int = 0) -> list[Any]:
    return [value async for value in run.stream(name, start)]


async def test_what_a_step_writes_is_read_in_order_and_to_the_end(engine: Engine) -> None:
    run = await engine.start(counts, 1_000)
    assert await read(run) == list(range(1_000))
    reader = run.stream()
    assert len([value async for value in reader]) == 1_000
    assert (reader.cursor, reader.reason) == (1_000, "completed")


async def test_from_any_place_and_from_the_end(engine: Engine) -> None:
    run = await engine.start(counts, 10)
    await run.result()
    assert await read(run, start=7) == [7, 8, 9]
    assert await read(run, start=-2) == [8, 9]
    assert await read(run, start=-50) == list(range(10))
    assert await read(run, start=10) == []
    assert await read(run, "other") == []


async def test_values_bytes_and_the_end_by_close(engine: Engine) -> None:
    run = await engine.start(writes_itself)
    reader = run.stream("mixed")
    assert [value async for value in reader] == ["from the body", b"\x00raw\xff", {"a": (1, 2)}]
    assert reader.reason == "closed"
    await run.result()
    [info] = await run.list_streams()
    assert (info.name, info.length, info.closed) == ("mixed", 4, True)
    assert await run.stream_info("mixed") == info
    assert await run.stream_info("nothing") is None


async def test_a_blocking_step_writes_too(engine: Engine) -> None:
    run = await engine.start(counts_in_a_thread, 100)
    assert await read(run, "thread") == list(range(100))


async def test_g1_readers_see_one_attempt_and_are_told_what_is_void(engine: Engine) -> None:
    run = await engine.start(retries)
    live = [value async for value in run.stream()]
    first, second, third = ([(attempt, number) for number in range(3)] for attempt in (1, 2, 3))
    assert live == [*first, StreamReset(0), *second, StreamReset(4), *third]
    assert await run.result() == 3
    assert await read(run) == third
    assert await read(run, start=9) == third[1:]
    assert await read(run, start=2) == [StreamReset(0), *third]


async def test_g9_what_a_dead_worker_wrote_is_void(make_engine: MakeEngine) -> None:
    first = make_engine()
    await first.open()
    run = await first.start(dies_in_the_middle)
    while not effects("written"):
        await asyncio.sleep(0.01)
    assert first.worker is not None
    await first.close()
    async with make_engine() as second:
        assert (await read(second.get_run(run.id)))[-2:] == ["before", "after"]
        assert (await second.list_runs())[0].status == "completed"
        assert await read(second.get_run(run.id)) == ["before", "after"]
        info = await second.get_run(run.id).stream_info()
        assert info is not None
        assert info.length == 4, "before, its reset, and two of the attempt that counts"


async def test_a_reader_in_another_process_sees_them_soon(make_engine: MakeEngine) -> None:
    async with make_engine() as writer, make_engine(worker=False) as reader:
        run = await writer.start(dies_in_the_middle)
        values = aiter(reader.get_run(run.id).stream())
        assert await anext(values) == "before"
        assert await anext(values) == "after"
        with pytest.raises(StopAsyncIteration):
            await anext(values)


async def test_a_readable_handle_passes_to_a_step(engine: Engine) -> None:
    first = await engine.start(counts, 5)
    await first.result()
    assert await (await engine.start(passes_a_stream_on, first.id)).result() == [3, 4]


async def test_a_body_does_not_read_live_state(engine: Engine) -> None:
    run = await engine.start(reads_in_the_body)
    with pytest.raises(Exception, match="read it in a step") as failed:
        await run.result()
    assert isinstance(failed.value.__cause__, NonDeterminismError)


async def test_only_its_own_run_writes_to_a_stream(engine: Engine) -> None:
    run = await engine.start(lends_its_stream)
    with pytest.raises(Exception, match="only its own steps"):
        await run.result()


async def test_progress_is_thinned_out_and_ends_at_the_end(engine: Engine) -> None:
    run = await engine.start(makes_progress)
    told = await read(run, "progress")
    assert len(told) < 10
    assert told[-1] == {"step": works.name, "done": 1_000, "total": 1_000, "note": "items"}


async def test_a_stream_goes_on_in_the_next_link(engine: Engine) -> None:
    run = await engine.start(a_link, 0)
    assert await read(run) == [0, 1, 0, 1, 0, 1]


async def test_a_reader_that_waits_ends_with_the_run(engine: Engine) -> None:
    run = await engine.start(idles)
    reading = asyncio.ensure_future(read(run))
    await sleep(1)
    assert not reading.done()
    await engine.resume_hook("end")
    assert await reading == []


async def test_readers_leave_nothing_behind(engine: Engine) -> None:
    run = await engine.start(idles)
    for _ in range(100):
        reading = asyncio.ensure_future(read(run))
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    assert engine._notices is not None
    assert not engine._notices._waiting
    await run.terminate()


async def test_a_run_that_is_not_there(engine: Engine) -> None:
    with pytest.raises(RunNotFound):
        await read(engine.get_run("nothing"))


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "../x", "a b", "x" * 129, "a\0"])
async def test_a_name_that_no_stream_can_have(engine: Engine, name: str) -> None:
    with pytest.raises(ValueError, match="can't name a stream"):
        engine.get_run("r").stream(name)


async def test_outside_a_run_nothing_is_written() -> None:
    assert await count(get_writable(), 3) == 3
    await progress(1, 2)
    with pytest.raises(UsageError):
        await Writable("r1", "s").write(1)


@step(queue="gpu")
async def writes_in_a_queue() -> None:
    out = get_writable("out")
    for number in range(3):
        await out.write(number)
        await out.flush()
        await asyncio.sleep(10)


@step
async def lasts(seconds: float) -> None:
    await asyncio.sleep(seconds)


@workflow
async def writes_and_lasts() -> None:
    await asyncio.gather(writes_in_a_queue(), lasts(100))


async def test_what_a_queued_step_writes_is_read_where_its_run_is(make_engine: MakeEngine) -> None:
    """And not when that leaves memory: another worker writes it, so the run's own can't tell."""
    often = {"poll": 1.0, "look_every": 1.0}
    async with make_engine(queues=("default",), **often) as first, make_engine(queues=("gpu",), **often):
        run = await first.start(writes_and_lasts)
        loop = asyncio.get_running_loop()
        began = loop.time()
        seen = [(value, loop.time() - began) async for value in run.stream("out")]
        assert [value for value, _ in seen] == [0, 1, 2]
        assert all(at < 50 for _, at in seen)
