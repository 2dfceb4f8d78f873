"""Payloads from outside: accepted means durable, ordered, delivered once (R15, R18–R20)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import msgspec
import pytest

from outlive import (
    Engine,
    Hook,
    HookConflict,
    HookHandle,
    HookNotFound,
    NotInWorkflow,
    PayloadInvalid,
    Run,
    continue_as_new,
    create_hook,
    define_hook,
    get_workflow_metadata,
    race,
    resume_hook,
    sleep,
    step,
    workflow,
)
from outlive._core import payloads
from outlive._core.seeds import hash_token
from outlive.model.entries import Message
from outlive.model.events import Payload

from .conftest import MakeEngine
from .helpers import kinds, record


@dataclass
class Answer:
    guest: str
    coming: bool


answer_hook = define_hook(Answer)


@step
async def send_out(hook: HookHandle[int]) -> None:
    record("sent")
    for number in range(3):
        await hook.resume(number)


@workflow
async def calls_itself_back() -> list[int]:
    hook: Hook[int] = create_hook(int)
    await send_out(hook)  # type: ignore[arg-type]  # a hook arrives in a step as its handle
    return [await hook for _ in range(3)]


async def test_payloads_that_come_before_the_await_are_kept_in_order(engine: Engine) -> None:
    assert await (await engine.start(calls_itself_back)).result() == [0, 1, 2]


@workflow
async def awaits_answer(token: str) -> Answer:
    return await answer_hook.create(token=token)


async def test_a_defined_hook_types_both_sides(engine: Engine) -> None:
    run = await engine.start(awaits_answer, "t")
    await asyncio.sleep(1)
    await answer_hook.resume("t", Answer("ada", coming=True))
    assert await run.result() == Answer("ada", coming=True)


async def test_r20_a_bad_payload_is_refused_at_acceptance(engine: Engine) -> None:
    run = await engine.start(awaits_answer, "t")
    await asyncio.sleep(1)
    with pytest.raises(PayloadInvalid, match="Answer"):
        await engine.resume_hook("t", {"guest": 1})
    assert await run.status() == "running"


async def test_json_from_outside_is_read_as_the_hooks_type(engine: Engine) -> None:
    run = await engine.start(awaits_answer, "t")
    await asyncio.sleep(1)
    raw = b'{"guest": "grace", "coming": false}'
    await engine.deliver("t", None, Payload.of("application/json", raw), None, "")
    assert await run.result() == Answer("grace", coming=False)


async def test_an_unknown_token_is_told_so(engine: Engine) -> None:
    with pytest.raises(HookNotFound, match="no open hook"):
        await engine.resume_hook("nobody", 1)


async def test_a_token_is_free_again_when_its_run_has_ended(engine: Engine) -> None:
    run = await engine.start(awaits_answer, "t")
    await asyncio.sleep(1)
    await engine.resume_hook("t", Answer("ada", coming=True))
    await run.result()
    with pytest.raises(HookNotFound):
        await engine.resume_hook("t", Answer("ada", coming=True))


@workflow
async def wants_token(token: str) -> str | None:
    hook = create_hook(token=token)
    holder = await hook.conflict()
    if holder is None:
        await sleep(1000)
        return None
    try:
        await hook
    except HookConflict as conflict:
        assert conflict.run_id == holder
    return holder


async def test_r19_a_token_has_one_holder_and_the_other_run_is_told_who(engine: Engine) -> None:
    first = await engine.start(wants_token, "only")
    await asyncio.sleep(1)
    second = await engine.start(wants_token, "only")
    assert await second.result() == first.id
    assert await first.result() is None


@workflow
async def disposes() -> int:
    received = 0
    with create_hook(token="d") as hook:
        async with asyncio.timeout(100):
            await hook
            received += 1
    await sleep(100)
    return received


async def test_a_disposed_hook_frees_its_token(engine: Engine) -> None:
    run = await engine.start(disposes)
    await asyncio.sleep(1)
    await engine.resume_hook("d", 1)
    await asyncio.sleep(1)
    with pytest.raises(HookNotFound):
        await engine.resume_hook("d", 2)
    assert await run.result() == 1
    assert "hook_disposed" in await kinds(run)


@workflow
async def takes_one() -> object:
    return await create_hook(token="one")


async def test_r18_what_came_too_late_is_recorded_as_discarded(engine: Engine) -> None:
    run = await engine.start(takes_one)
    await asyncio.sleep(1)
    await asyncio.gather(engine.resume_hook("one", 1), engine.resume_hook("one", 2), engine.resume_hook("one", 3))
    assert await run.result() in (1, 2, 3)  # a server may see them in another order than they were sent in
    received = (await kinds(run)).count("hook_received")
    assert received + (await kinds(run)).count("hook_discarded") == 3


@workflow
async def rounds(n: int) -> list[object]:
    got: list[object] = []
    hook = create_hook(token="rounds")
    while len(got) < n:
        got.append(await race(hook, sleep(10, "timeout")))
    return got


async def test_d03_a_lost_race_never_eats_the_next_payload(engine: Engine) -> None:
    run = await engine.start(rounds, 4)
    await asyncio.sleep(15)
    await engine.resume_hook("rounds", "a")
    await asyncio.sleep(12)
    await engine.resume_hook("rounds", "b")
    assert await run.result() == ["timeout", "a", "timeout", "b"]


async def test_r15_a_payload_accepted_before_a_deadline_comes_before_it_though_all_was_down(
    make_engine: MakeEngine,
) -> None:
    async with make_engine(linger=0.0) as first:
        run = await first.start(rounds, 1)
        await asyncio.sleep(2)
    async with make_engine(worker=False) as client:
        await client.resume_hook("rounds", "in time")
    await asyncio.sleep(1000)
    async with make_engine() as second:
        assert await second.get_run(run.id).result() == ["in time"]


async def test_a_deadline_before_the_payload_wins_though_all_was_down(make_engine: MakeEngine) -> None:
    async with make_engine(linger=0.0) as first:
        run = await first.start(rounds, 1)
        await asyncio.sleep(2)
    await asyncio.sleep(1000)
    async with make_engine(worker=False) as client:
        await client.resume_hook("rounds", "late")
    async with make_engine() as second:
        assert await second.get_run(run.id).result() == ["timeout"]


@workflow
async def sends_to(token: str) -> str:
    try:
        await resume_hook(token, get_workflow_metadata().run_id)
    except HookNotFound:
        return "nobody"
    return "sent"


async def test_r36_a_body_sends_to_another_runs_hook_once(engine: Engine) -> None:
    receiver = await engine.start(takes_one)
    await asyncio.sleep(1)
    sender = await engine.start(sends_to, "one")
    assert await sender.result() == "sent"
    assert await receiver.result() == sender.id
    assert await (await engine.start(sends_to, "one")).result() == "nobody"


@workflow
async def cancels(run: Run[object]) -> bool:
    return await run.cancel()


async def test_r36_a_body_cancels_another_run(engine: Engine) -> None:
    target = await engine.start(takes_one)
    await asyncio.sleep(1)
    assert await (await engine.start(cancels, target)).result() is True
    await asyncio.sleep(1)
    assert await target.status() == "cancelled"
    assert await (await engine.start(cancels.options(run_id="again"), target)).result() is False


@workflow
async def chain_with_token(n: int) -> object:
    hook = create_hook(token="chain")
    payload = await hook
    if n:
        continue_as_new(n - 1)
    return payload


async def test_r08_a_named_token_stays_with_the_chain(engine: Engine) -> None:
    run = await engine.start(chain_with_token, 2)
    await asyncio.sleep(1)
    for number in range(3):
        await engine.resume_hook("chain", number)
    assert await run.result() == 2


async def test_an_idempotency_key_is_honoured(engine: Engine) -> None:
    run = await engine.start(rounds, 2)
    await asyncio.sleep(1)
    await engine.resume_hook("rounds", "a", idempotency_key="k")
    await engine.resume_hook("rounds", "a", idempotency_key="k")
    assert await run.result() == ["a", "timeout"]


async def test_hooks_have_a_meaning_only_in_a_body() -> None:
    with pytest.raises(NotInWorkflow):
        create_hook()


# --- R20: whether a payload fits is a recorded fact --------------------------------------------------------------------


class Order(msgspec.Struct):
    amount: int


class Validated:
    """Its check is a bug of the user's."""

    @classmethod
    def model_validate(cls, value: object) -> object:
        raise LookupError("a bug")


async def accept(engine: Engine, token: str, body: bytes) -> None:
    """As by a process that does not know the type of the hook."""
    payload = Payload.of("application/json", body)
    message = Message(kind="payload", token_hash=hash_token(token), payload=payload)
    await engine.journal.request(message, then=engine._told)


@workflow
async def takes_order() -> str:
    hook = create_hook(Order, token="order")
    try:
        first = str((await hook).amount)
    except PayloadInvalid as invalid:
        first = str(invalid)
    await sleep(100)
    return first


async def test_r20_a_payload_that_did_not_fit_never_will(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make_engine(linger=0.0) as first:
        run = await first.start(takes_order)
        await asyncio.sleep(1)
        await accept(first, "order", b'{"amount": "7"}')
        await asyncio.sleep(10)
        [received] = [event for event in await run.events() if event.kind == "hook_received"]
        assert received.data["fits"] is False
    monkeypatch.setattr(payloads, "fit", lambda value, _kind: Order(int(value["amount"])))
    async with make_engine() as second:
        assert "the payload is not a Order" in await second.get_run(run.id).result()


async def test_r20_one_that_fitted_and_does_so_no_more_parks_the_run(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make_engine(linger=0.0) as first:
        run = await first.start(takes_order)
        await asyncio.sleep(1)
        await accept(first, "order", b'{"amount": 7}')
        await asyncio.sleep(10)

    def strict(_value: object, _kind: object) -> object:
        raise PayloadInvalid("too strict")

    with monkeypatch.context() as changed:
        changed.setattr(payloads, "fit", strict)
        async with make_engine() as second:
            await asyncio.sleep(1000)
            assert await second.get_run(run.id).status() == "parked"
            assert "fitted its hook does so no more" in (await second.get_run(run.id).events())[-1].data["report"]
    async with make_engine() as third:
        await third.get_run(run.id).wake_up()
        assert await third.get_run(run.id).result() == "7"


@workflow
async def takes_validated() -> str:
    hook = create_hook(Validated, token="validated")
    with pytest.raises(PayloadInvalid, match="can't be checked: LookupError: a bug"):
        await hook
    return "went on"


async def test_r20_a_check_that_fails_is_a_payload_that_does_not_fit(engine: Engine) -> None:
    run = await engine.start(takes_validated)
    await asyncio.sleep(1)
    await accept(engine, "validated", b"{}")
    assert await run.result() == "went on"
