"""Small programs, each about one thing that a crash could spoil. A scene starts its runs and plays whoever is outside."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from outlive import (
    Engine,
    FatalError,
    Response,
    RetryableError,
    Run,
    RunConflict,
    StepError,
    StepInterrupted,
    StreamReset,
    WebhookRequest,
    Writable,
    continue_as_new,
    create_hook,
    create_webhook,
    get_logger,
    get_run,
    get_step_metadata,
    get_writable,
    now,
    patched,
    race,
    resume_hook,
    rng,
    sleep,
    start,
    step,
    uuid4,
    workflow,
)
from outlive.model.entries import Accepted
from outlive.model.events import Payload
from outlive.model.webhooks import Answer, Reply, RequestHead
from outlive.testing.crashpoints import Client, Scene


@dataclass(frozen=True)
class Program:
    """A scene, and what else may come of it when it is cut off."""

    name: str
    scene: Scene
    also: tuple[object, ...]
    twice: int
    same_log: bool


PROGRAMS: list[Program] = []


def program(*, also: tuple[object, ...] = (), twice: int = 0, same_log: bool = True) -> Callable[[Scene], Scene]:
    def add(scene: Scene) -> Scene:
        PROGRAMS.append(Program(scene.__name__, scene, also, twice, same_log))
        return scene

    return add


@contextlib.asynccontextmanager
async def meanwhile(*doings: Awaitable[None]):
    """Somebody outside does these; all are done when the block is left."""
    tasks = [asyncio.ensure_future(doing) for doing in doings]
    yield
    await asyncio.gather(*tasks)


# --- steps -----------------------------------------------------------------------------------------------------------


@step
async def work(what: str, seconds: float = 1.0) -> str:
    await asyncio.sleep(seconds)
    return what.upper()


@step
def work_in_thread(what: str) -> str:
    return what.upper()


@step(max_retries=0)
async def fail(what: str, seconds: float = 1.0) -> None:
    await asyncio.sleep(seconds)
    raise ValueError(what)


@step(max_retries=2, retry_delay=30)
async def flaky(fails: int) -> int:
    attempt = get_step_metadata().attempt
    if attempt <= fails:
        raise ConnectionError(f"attempt {attempt}")
    return attempt


# --- steps side by side ----------------------------------------------------------------------------------------------


@workflow
async def two_branches() -> list[str]:
    async def branch(name: str, seconds: float) -> str:
        first = await work(name, seconds)
        return await work(f"{first} then", seconds)

    return list(await asyncio.gather(branch("slow", 7), branch("quick", 2)))


@program(twice=12)
async def gathered_branches_call_same_named_steps(client: Client) -> object:
    return await client.run(two_branches)


@workflow
async def fans_out() -> list[str]:
    slots = asyncio.Semaphore(2)

    async def bounded(number: int) -> str:
        async with slots:
            return await work(f"item {number}", number % 3 + 1)

    return list(await asyncio.gather(*(bounded(number) for number in range(5))))


@program()
async def a_semaphore_bounds_a_fan_out(client: Client) -> object:
    return await client.run(fans_out)


@workflow
async def completes_in_order() -> list[str]:
    told = set()
    for ended in asyncio.as_completed([work("a", 3), work("b", 1), work("c", 2)]):
        told.add(await work(f"saw {await ended}"))
    return sorted(told)


@program()
async def steps_as_they_complete(client: Client) -> object:
    return await client.run(completes_in_order)


@workflow
async def group_fails() -> str:
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(work("long", 1000))
            group.create_task(fail("broken", 2))
    except ExceptionGroup as errors:
        return await work(f"mend {errors.exceptions[0]}")
    return "whole"


@program(twice=6)
async def a_child_of_a_task_group_fails(client: Client) -> object:
    return await client.run(group_fails)


@workflow
async def threads() -> list[str]:
    return list(await asyncio.gather(*(work_in_thread(name) for name in "abc")))


@program()
async def steps_in_threads(client: Client) -> object:
    return await client.run(threads)


@workflow
async def race_loser() -> list[str]:
    won = await race(work("quick", 1), work("slow", 50))
    return [won, await work("after", 1)]


@program()
async def the_loser_of_a_race_is_dropped(client: Client) -> object:
    return await client.run(race_loser)


@workflow
async def loser_ends() -> list[str]:
    won = await race(work("quick", 1), work("slow", 5))
    return [won, await work("long after", 100)]


@program()
async def the_loser_of_a_race_ends_unnoticed(client: Client) -> object:
    return await client.run(loser_ends)


@workflow
async def shields() -> list[str]:
    inner = asyncio.ensure_future(work("shielded", 30))
    try:
        async with asyncio.timeout(5):
            await asyncio.shield(inner)
    except TimeoutError:
        pass
    return [await inner, await work("after")]


@program()
async def a_shielded_step_survives_its_timeout(client: Client) -> object:
    return await client.run(shields)


@workflow
async def background() -> str:
    for number in range(3):
        asyncio.create_task(work(f"background {number}", 1 + number))  # noqa: RUF006
    await sleep(60)
    return await work("foreground")


@program()
async def background_tasks_that_nobody_awaits(client: Client) -> object:
    return await client.run(background)


@workflow
async def passes_on() -> list[str]:
    queue: asyncio.Queue[str] = asyncio.Queue(1)

    async def produce() -> None:
        for number in range(3):
            await queue.put(await work(f"made {number}"))
        await queue.put("")

    producing = asyncio.create_task(produce())
    used: list[str] = []
    while made := await queue.get():
        used.append(await work(f"used {made}", 2))
    await producing
    return used


@program(twice=8)
async def a_queue_between_tasks(client: Client) -> object:
    return await client.run(passes_on)


@workflow
async def generates() -> list[str]:
    async def pages():
        try:
            for number in range(5):
                yield await work(f"page {number}")
        finally:
            await work("closed")

    read = []
    generator = pages()
    async for page in generator:
        read.append(page)
        if len(read) == 2:
            break
    await generator.aclose()
    return read


@program()
async def an_async_generator_is_closed_midway(client: Client) -> object:
    return await client.run(generates)


@workflow
async def meets() -> list[str]:
    barrier, condition, told = asyncio.Barrier(3), asyncio.Condition(), []

    async def party(name: str, seconds: float) -> None:
        await work(name, seconds)
        await barrier.wait()
        async with condition:
            told.append(name)
            condition.notify_all()

    async with asyncio.TaskGroup() as group:
        for seconds, name in enumerate("abc", 1):
            group.create_task(party(name, seconds))
        async with condition:
            await condition.wait_for(lambda: len(told) == 3)
    return [*sorted(told), await work("all")]


@program()
async def a_barrier_and_a_condition(client: Client) -> object:
    return await client.run(meets)


# --- time ------------------------------------------------------------------------------------------------------------


@workflow
async def fires() -> str:
    try:
        async with asyncio.timeout(10):
            return await work("too slow", 1000)
    except TimeoutError:
        return await work("timed out")


@program(twice=8)
async def a_timeout_fires_around_a_step(client: Client) -> object:
    return await client.run(fires)


@workflow
async def waits_for() -> list[str]:
    told = [await asyncio.wait_for(work("in time", 1), 1000)]
    try:
        await asyncio.wait_for(sleep("1 day"), 20)
    except TimeoutError:
        told.append(await work("late"))
    return told


@program()
async def wait_for_in_time_and_late(client: Client) -> object:
    return await client.run(waits_for)


@workflow
async def sleeps_long() -> str:
    began = now()
    await sleep("40 days")
    return await work(f"{(now() - began).days} days later")


@program(twice=6)
async def forty_days_of_sleep(client: Client) -> object:
    return await client.run(sleeps_long)


@workflow
async def naps() -> list[str]:
    told = []
    for number in range(3):
        await sleep(5)
        told.append(await work(f"nap {number}"))
    return told


@program()
async def short_sleeps_between_steps(client: Client) -> object:
    return await client.run(naps)


@workflow
async def is_woken() -> str:
    await sleep("1000 days")
    return await work("woken")


@program()
async def a_sleep_is_woken_up(client: Client) -> object:
    run = await client.start(is_woken)

    async def wake() -> None:
        await client.seen(run, "wait_created")
        await client.wake_up(run)

    async with meanwhile(wake()):
        return await client.result(run)


@workflow
async def equal_times() -> str:
    hook = create_hook(token="equal")
    winner, _ = await race(hook=hook, nap=sleep(20), step=work("equal", 20))
    await work(winner)
    return "one of them"


@program(same_log=False)
async def hook_sleep_and_step_at_equal_times(client: Client) -> object:
    async def send() -> None:
        await asyncio.sleep(20)
        await client.send("equal", "now", key="k")

    # whichever wins: it is the same in the log, in the body and after the crash
    run = await client.start(equal_times)
    sending = asyncio.create_task(send())
    result = await client.result(run)
    sending.cancel()
    return result


# --- steps that end badly --------------------------------------------------------------------------------------------


@workflow
async def retried() -> int:
    return await flaky(2)


@program(twice=10)
async def a_step_is_retried(client: Client) -> object:
    return await client.run(retried)


@step(max_retries=3)
async def busy() -> int:
    attempt = get_step_metadata().attempt
    if attempt < 3:
        raise RetryableError("429", retry_after="1 hour")
    return attempt


@workflow
async def obeys_rate_limit() -> int:
    return await busy()


@program()
async def a_rate_limit_is_obeyed(client: Client) -> object:
    return await client.run(obeys_rate_limit)


@step
async def give_up() -> None:
    raise FatalError("no use")


@workflow
async def fails_fatally() -> None:
    await give_up()


@program()
async def a_run_fails_with_its_step(client: Client) -> object:
    return await client.run(fails_fatally)


@step(max_retries=0)
async def cancels_itself() -> None:
    raise asyncio.CancelledError("mine")


@workflow
async def step_cancelled_itself() -> str:
    try:
        await cancels_itself()
    except StepError as error:
        return await work(error.type_name)
    return "?"


@program()
async def a_step_ends_in_cancelled_error(client: Client) -> object:
    return await client.run(step_cancelled_itself)


@step(at_most_once=True)
async def pay(amount: int) -> str:
    await asyncio.sleep(1)
    return f"paid {amount}"


@workflow
async def pays() -> list[str]:
    told = []
    for amount in (1, 2):
        try:
            told.append(await pay(amount))
        except StepInterrupted:
            told.append("unknown")
    return told


@program(also=(["unknown", "paid 2"], ["paid 1", "unknown"], ["unknown", "unknown"]), twice=10)
async def payments_are_made_at_most_once(client: Client) -> object:
    return await client.run(pays)


# --- clean-up --------------------------------------------------------------------------------------------------------


@workflow
async def cleans_up() -> str:
    try:
        try:
            await work("a")
            await sleep("1 day")
            await fail("midway")
        except BaseException as error:
            await work(f"undo: {error}")
            raise
        finally:
            await work("close")
    except ValueError:
        return "cleaned"
    return "?"


@program(twice=10)
async def clean_up_steps_happen_once(client: Client) -> object:
    return await client.run(cleans_up)


@workflow
async def swallows_everything() -> list[str]:
    told = []
    for number in range(2):
        try:
            await sleep("1 hour")
            told.append(await work(f"round {number}"))
        except BaseException:
            told.append(await work("never"))
    return told


@program()
async def a_body_that_catches_everything(client: Client) -> object:
    return await client.run(swallows_everything)


@workflow
async def cancelled_in_clean_up() -> str:
    try:
        await create_hook(token="never")
    except asyncio.CancelledError:
        await work("clean-up", 10)
        raise
    return "?"


@program(twice=8)
async def a_run_is_cancelled_and_cleans_up(client: Client) -> object:
    run = await client.start(cancelled_in_clean_up)
    await client.seen(run, "hook_created")
    await client.cancel(run)
    return await client.result(run)


@workflow
async def cancelled_twice() -> str:
    told = []
    for what in ("first", "second"):
        try:
            await work(what, 100)
        except asyncio.CancelledError:
            told.append(await work(f"{what} cancelled", 50))
            await work("still here", 1)
    return ", ".join(told)


@program()
async def a_cancel_is_survived(client: Client) -> object:
    run = await client.start(cancelled_twice)
    await client.seen(run, "run_started")
    await client.cancel(run)
    return await client.result(run)


# --- hooks -----------------------------------------------------------------------------------------------------------


@workflow
async def payload_first() -> list[object]:
    hook = create_hook(token="early")
    await work("slow", 100)
    return [await hook, await work("after")]


@program(twice=8)
async def a_payload_comes_before_it_is_awaited(client: Client) -> object:
    async with meanwhile(client.send("early", "hello", key="k")):
        return await client.run(payload_first)


@workflow
async def rounds() -> list[object]:
    told: list[object] = []
    with create_hook(token="rounds") as hook:
        while len(told) < 3:
            try:
                async with asyncio.timeout(50):
                    told.append(await hook)
            except TimeoutError:
                told.append(await work("nobody came"))
    return told


# with crashes the third payload may come too late
@program(twice=10, also=([1, "NOBODY CAME", "NOBODY CAME"],))
async def a_hook_in_a_loop_with_a_timeout_each_round(client: Client) -> object:
    async def send() -> None:
        await client.send("rounds", 1, key="1")
        await client.seen("rounds", "step_completed")
        await client.send("rounds", 3, key="3")

    async with meanwhile(send()):
        return await client.run(rounds.options(run_id="rounds"))


@workflow
async def receives(count: int) -> list[object]:
    hook = create_hook(token="three")
    return [await work(str(await hook)) for _ in range(count)]


@program()
async def payloads_arrive_in_order(client: Client) -> object:
    async def send() -> None:
        for number in range(3):
            await client.send("three", number, key=str(number))

    async with meanwhile(send()):
        return await client.run(receives, 3)


@workflow
async def conflicting() -> object:
    first = create_hook(token="mine")
    await first.conflict()
    other = await start(second_holder.options(run_id="second"))
    told = await other.result()
    first.dispose()
    return [told, await work("after")]


@workflow
async def second_holder() -> object:
    return await create_hook(token="mine").conflict()


@program()
async def a_token_is_held_by_another_run(client: Client) -> object:
    return await client.run(conflicting.options(run_id="first"))


# --- several runs ----------------------------------------------------------------------------------------------------


@workflow
async def child(name: str, seconds: float) -> str:
    return await work(name, seconds)


@workflow
async def parent() -> list[str]:
    children = [await start(child, name, seconds) for name, seconds in (("a", 5.0), ("b", 2.0))]
    return list(await asyncio.gather(*(each.result() for each in children)))


@program(twice=12)
async def children_and_their_results(client: Client) -> object:
    return await client.run(parent)


@workflow
async def failing_child() -> None:
    await fail("of the child")


@workflow
async def hears_of_failure() -> str:
    run = await start(failing_child)
    try:
        await run.result()
    except Exception as error:
        return await work(f"{type(error).__name__}: {error.__cause__}")
    return "?"


@program()
async def a_child_fails(client: Client) -> object:
    return await client.run(hears_of_failure)


@workflow
async def inner(name: str) -> str:
    await sleep(10)
    return await work(name)


@workflow
async def nested() -> list[str]:
    return [await inner("a"), *await asyncio.gather(inner("b"), inner("c"))]


@program()
async def workflows_inline(client: Client) -> object:
    return await client.run(nested)


@workflow
async def sends() -> str:
    listener = await start(listens.options(run_id="listener"))
    await work("before")
    await resume_hook("from-run", {"n": 1})
    return await listener.result()


@workflow
async def listens() -> str:
    return await work(str(await create_hook(token="from-run")))


@program(twice=10)
async def one_run_sends_to_the_hook_of_another(client: Client) -> object:
    return await client.run(sends)


@workflow
async def cancels_other() -> str:
    other = await start(cancelled_in_clean_up.options(run_id="other"))
    await sleep(10)
    await other.cancel()
    try:
        await other.result()
    except Exception as error:
        return type(error).__name__
    return "?"


@program()
async def one_run_cancels_another(client: Client) -> object:
    return await client.run(cancels_other)


@step
async def starts_in_step() -> Run[str]:
    return await start(child, "from a step", 1.0)


@workflow
async def starter() -> str:
    return await (await starts_in_step()).result()


@program()
async def a_step_starts_a_run(client: Client) -> object:
    return await client.run(starter)


@program()
async def the_same_start_twice(client: Client) -> object:
    one = child.options(run_id="once")
    first = await asyncio.gather(client.start(one, "a", 5.0), client.start(one, "a", 5.0))
    try:
        await client.start(one, "another", 5.0)
    except RunConflict:
        return [*first, await client.result("once"), "conflict"]
    return "?"


@workflow
async def watches() -> str:
    return await get_run("watched").result()


@program()
async def a_run_watches_one_that_it_did_not_start(client: Client) -> object:
    await client.start(child.options(run_id="watched"), "seen", 20.0)
    return await client.run(watches)


# --- chains ----------------------------------------------------------------------------------------------------------


@workflow
async def chain(left: int, told: list[str]) -> list[str]:
    told = [*told, await work(f"{left} left")]
    if left:
        await sleep(30)
        continue_as_new(left - 1, told)
    return told


@program(twice=8)
async def a_chain_of_links(client: Client) -> object:
    return await client.run(chain, 2, [])


@workflow
async def holds_token(left: int, told: list[object]) -> list[object]:
    hook = create_hook(token="chain")
    told = [*told, await hook]
    if left:
        continue_as_new(left - 1, told)
    return told


# what a link took in and never received goes on with the chain: it is then in the logs of both
@program(twice=12, same_log=False)
async def a_chain_holds_a_token_and_its_payloads(client: Client) -> object:
    async def send() -> None:
        for number in range(3):
            await client.send("chain", number, key=str(number))

    async with meanwhile(send()):
        return await client.run(holds_token, 2, [])


# --- what a body observes --------------------------------------------------------------------------------------------


@workflow
async def chance() -> list[object]:
    before = [str(uuid4()), rng().random()]
    await work(str(before))
    await sleep(100)
    return [*before, str(uuid4()), rng().randint(1, 1000)]


@program()
async def uuids_and_random_numbers(client: Client) -> object:
    return await client.run(chance)


@workflow
async def clock() -> bool:
    first = now()
    await work(first.isoformat(), 1)
    second = now()
    await sleep(100)
    return first < second < now()


@program()
async def the_time(client: Client) -> object:
    return await client.run(clock)


@workflow
async def logs() -> None:
    get_logger("crash").warning("before")
    await work("a")
    await sleep(100)
    get_logger("crash").warning("after")


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@program()
async def log_lines(client: Client) -> object:
    """A crash may take a line with it, as it comes out once what it tells of is durable; it never brings one twice."""
    heard = Lines()
    logger = logging.getLogger("crash")
    logger.addHandler(heard)
    try:
        await client.run(logs)
    finally:
        logger.removeHandler(heard)
    return [heard.lines.count(line) <= 1 for line in ("before", "after")], set(heard.lines) <= {"before", "after"}


@workflow
async def asks_patch() -> list[object]:
    answers: list[object] = [patched("a")]
    await sleep(100)
    return [*answers, patched("a"), patched("b"), await work("after")]


@program()
async def patches(client: Client) -> object:
    return await client.run(asks_patch)


@workflow
async def sets() -> list[str]:
    tasks = {asyncio.create_task(work(f"task {number}", number % 2 + 1)) for number in range(4)}
    told = []
    while tasks:
        done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        told += [task.result() for task in done]
    return sorted(told)


@program()
async def tasks_in_a_set(client: Client) -> object:
    return await client.run(sets)


# --- streams ---------------------------------------------------------------------------------------------------------


class Reader:
    """Reads a stream through all lives, from where it was cut off; what is void it forgets."""

    def __init__(self, run_id: str, name: str) -> None:
        self.run_id = run_id
        self.name = name
        self.kept: dict[int, object] = {}
        self.cursor = 0
        self.reason = ""

    async def read(self, engine: Engine) -> None:
        reader = engine.get_run(self.run_id).stream(self.name, self.cursor)
        async for item in reader.items():
            assert item.index >= self.cursor, "a chunk came twice"
            self.cursor = item.index + 1
            if isinstance(item.value, StreamReset):
                since = item.value.since
                self.kept = {index: value for index, value in self.kept.items() if index < since}
            else:
                self.kept[item.index] = item.value
        self.reason = reader.reason


async def streamed(client: Client, run_id: str, name: str) -> tuple[list[object], str]:
    """What a reader has in the end that followed from the beginning, and one that comes now: they must agree."""
    follower = Reader(run_id, name)
    await client.ask(follower.read)
    late = Reader(run_id, name)
    await client.ask(late.read)
    assert list(late.kept.values()) == list(follower.kept.values())
    return list(late.kept.values()), late.reason


@step
async def tells(stream: Writable, *values: object) -> int:
    for value in values:
        await stream.write(value)
        await asyncio.sleep(1)
    return len(values)


@step(max_retries=2)
async def tells_and_fails(stream: Writable) -> int:
    attempt = get_step_metadata().attempt
    await stream.write(f"attempt {attempt}")
    await stream.flush()
    if attempt < 3:
        raise ValueError("again")
    return attempt


@workflow
async def writes() -> int:
    stream = get_writable("told")
    await stream.write("the body begins")
    number = await tells(stream, "a", b"b", {"c": 1})
    number += await tells_and_fails(stream)
    await sleep(1000)
    number += await tells(stream, "d")
    await stream.write("the body ends")
    await stream.close()
    return number


@program(twice=8)
async def streams_of_steps_and_the_body(client: Client) -> object:
    run = await client.start(writes)
    return await streamed(client, run, "told"), await client.result(run)


@workflow
async def writes_twice(link: int) -> int:
    await tells(get_writable("chain"), f"link {link}")
    if link < 3:
        continue_as_new(link + 1)
    return link


@program(twice=4)
async def a_stream_through_a_chain(client: Client) -> object:
    result = await client.run(writes_twice, 1)
    return result, await streamed(client, writes_twice.name, "chain")


# --- webhooks --------------------------------------------------------------------------------------------------------


@step
async def gives_away(url: str) -> str:
    return url


@step
async def answers(request: WebhookRequest) -> str:
    text = await request.text()
    await request.respond(201, text=f"step: {text}")
    return text


@workflow
async def serves() -> list[str]:
    webhook = create_webhook(respond_with="manual", respond_within=3_600)
    await gives_away(webhook.url)
    got: list[str] = []
    async for request in webhook:
        if await request.text() == "end":
            await request.respond(text="body: end")
            break
        got.append(await answers(request))
        await sleep(100)
    webhook.dispose()
    await sleep(100)
    return got


async def link_of(client: Client, run_id: str) -> str:
    """The token that the run gave away."""
    await client.seen(run_id, "step_completed")

    async def look(engine: Engine) -> str:
        events = await engine.get_run(run_id).events()
        [first] = [event for event in events if event.kind == "step_completed"][:1]
        record = await engine.store.log(engine.get_run(run_id).id, 1, after=first.seq - 1, limit=1)
        value = engine.codec.decode(record[0].event.result)
        return str(value).rpartition("/")[2]

    return await client.ask(look)


async def call(client: Client, run_id: str, token: str, text: str, *, manual: bool = True) -> Answer | str | None:
    """As the front door takes in a request, and answers; asked again under the same key, as its sender would."""
    head = RequestHead(id=f"key-{text}", method="POST", query="", headers=(), manual=manual)
    payload = Payload.of("text/plain", text.encode(), head)
    reply = Reply("manual", limit=3_600) if manual else Reply()

    async def ask(engine: Engine) -> Answer | str | None:
        outcome = await engine.requests.accept(token, payload, key=f"key-{text}", reply=reply)
        if not isinstance(outcome, Accepted):
            return outcome.reason
        return await engine.requests.answer(outcome.run, head.id) if manual else "accepted"

    return await client.ask(ask)


@program(twice=8)
async def webhooks_that_are_answered(client: Client) -> object:
    run = await client.start(serves)
    token = await link_of(client, run)
    told = [await call(client, run, token, text) for text in ("one", "two", "end")]
    result = await client.result(run)
    return told, result, await call(client, run, token, "late"), await call(client, run, token, "one")


@workflow
async def serves_statically() -> list[str]:
    with create_webhook(respond_with=Response(text="thanks")) as webhook:
        await gives_away(webhook.url)
        await sleep(500)
        return [await (await webhook).text() for _ in range(3)]


@program(twice=4)
async def webhooks_called_before_the_await(client: Client) -> object:
    run = await client.start(serves_statically)
    token = await link_of(client, run)
    for text in ("one", "two", "two", "three"):
        await call(client, run, token, text, manual=False)
    return await client.result(run), await call(client, run, token, "four", manual=False)


@workflow
async def leaves_callers_waiting() -> str:
    webhook = create_webhook(respond_with="manual", respond_within=3_600)
    await gives_away(webhook.url)
    return await (await webhook).text()


@program()
async def a_caller_who_is_never_answered(client: Client) -> object:
    run = await client.start(leaves_callers_waiting)
    token = await link_of(client, run)
    answer = await call(client, run, token, "hello")
    return answer, await client.result(run)


# --- queues ----------------------------------------------------------------------------------------------------------


@workflow
async def queued_branches() -> list[str]:
    queued = work.options(queue="farm")

    async def branch(name: str, seconds: float) -> str:
        first = await queued(name, seconds)
        return await queued(f"{first} then", seconds)

    return list(await asyncio.gather(branch("slow", 7), branch("quick", 2), work("here", 3)))


@program(twice=12)
async def branches_call_same_named_steps_in_a_queue(client: Client) -> object:
    return await client.run(queued_branches)


@workflow
async def queued_and_retried() -> int:
    return await flaky.options(queue="farm")(2)


@program(twice=10)
async def a_step_in_a_queue_is_retried(client: Client) -> object:
    return await client.run(queued_and_retried)


@workflow
async def queued_too_long() -> list[str]:
    told = []
    try:
        async with asyncio.timeout(10):
            await work.options(queue="farm")("slow", 60)
    except TimeoutError:
        told.append("too late")
    told.append(await work.options(queue="farm")("next", 5))
    return told


@program(twice=8)
async def a_step_in_a_queue_is_cancelled(client: Client) -> object:
    return await client.run(queued_too_long)


@workflow
async def queued_payments() -> list[str]:
    told = []
    for amount in (1, 2):
        try:
            told.append(await pay.options(queue="bank")(amount))
        except StepInterrupted:
            told.append("unknown")
    return told


@program(also=(["unknown", "paid 2"], ["paid 1", "unknown"], ["unknown", "unknown"]), twice=8)
async def payments_in_a_queue_are_made_at_most_once(client: Client) -> object:
    return await client.run(queued_payments)


@workflow
async def queued_race() -> list[str]:
    name, _ = await race(loser=work.options(queue="farm")("long", 100), winner=sleep(10))
    return [name, await work.options(queue="farm")("after", 1)]


@program()
async def the_loser_of_a_race_is_in_a_queue(client: Client) -> object:
    return await client.run(queued_race)


@workflow
async def queued_chain(link: int) -> int:
    await work.options(queue="farm")(f"link {link}", 2)
    if link < 3:
        continue_as_new(link + 1)
    return link


@program(twice=6)
async def a_chain_of_links_with_steps_in_a_queue(client: Client) -> object:
    return await client.run(queued_chain, 1)


@workflow
async def queued_writer() -> int:
    return await tells.options(queue="farm")(get_writable("queued"), "a", "b", "c")


@program(twice=6)
async def a_step_in_a_queue_writes_to_a_stream(client: Client) -> object:
    return await client.run(queued_writer), await streamed(client, queued_writer.name, "queued")
