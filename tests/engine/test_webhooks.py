"""Webhooks below HTTP: what is accepted is durable, and answered once."""

from __future__ import annotations

import asyncio

import pytest

from outlive import (
    Engine,
    PayloadInvalid,
    Response,
    WebhookRequest,
    create_webhook,
    get_step_metadata,
    race,
    sleep,
    step,
    workflow,
)
from outlive._core.webhooks import WebhookUrl
from outlive.errors import UsageError
from outlive.model.entries import Accepted, Refused
from outlive.model.events import Payload
from outlive.model.webhooks import Answer, Reply, RequestHead

from .conftest import MakeEngine
from .helpers import effects, record

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def check(headers: dict[str, str], body: bytes) -> bool:
    return body != b"forged"


@step
async def tell(url: str) -> None:
    record("url", url)


@step
async def answer(request: WebhookRequest) -> bool:
    assert await request.respond(json={"id": request.id})
    if get_step_metadata().attempt == 1:
        raise RuntimeError("after the answer")
    return await request.respond(json={"id": request.id})


@workflow
async def one() -> tuple[str, str, dict[str, str], dict[str, str], object]:
    webhook = create_webhook()
    await tell(webhook.url)
    request = await webhook
    return (request.method, str(request.url), request.headers, request.query, await request.json())


@workflow
async def asks_and_answers() -> list[bool]:
    webhook = create_webhook(respond_with="manual", secret=SECRET, verify=check)
    await tell(webhook.url)
    request = await webhook
    first = await request.respond(202, text="yes")
    return [first, await request.respond(202, text="yes"), await request.respond(500, text="no")]


@workflow
async def answers_in_a_step() -> bool:
    with create_webhook(respond_with="manual") as webhook:
        await tell(webhook.url)
        return await answer(await webhook)


@workflow
async def leaves_them_waiting() -> str:
    with create_webhook(respond_with="manual") as webhook:
        await tell(webhook.url)
        await sleep("1 h")
    return "disposed"


@workflow
async def collects() -> list[str]:
    webhook = create_webhook(respond_with=Response(json={"thanks": True}))
    await tell(webhook.url)
    found: list[str] = []
    async for request in webhook:
        found.append(await request.text())
        if len(found) == 3:
            webhook.dispose()
    return found


@workflow
async def waits_a_day() -> str:
    webhook = create_webhook()
    await tell(webhook.url)
    name, _ = await race(payment=webhook, deadline=sleep("1 day"))
    return name


async def url_of(engine: Engine) -> str:
    """The URL that the workflow gave away, once it has."""
    while not effects("url"):
        await asyncio.sleep(0.01)
    return str(effects("url")[0])


def request_of(number: int = 1, body: bytes = b'{"a": 1}', *, manual: bool = False) -> Payload:
    head = RequestHead(
        id=f"request-{number}",
        method="PUT",
        query="x=1&x=2&y=",
        headers=(("x-a", "1"), ("x-a", "2"), ("authorization", "Bearer canary")),
        manual=manual,
    )
    return Payload.of("application/json", body, head)


async def send(engine: Engine, url: str, payload: Payload, *, key: str = "", reply: Reply | None = None) -> object:
    token = url.rpartition("/")[2]
    return await engine.requests.accept(token, payload, key=key, reply=reply or Reply())


async def test_a_request_reaches_the_body_whole(engine: Engine) -> None:
    run = await engine.start(one)
    url = await url_of(engine)
    assert url.startswith("http://localhost:8000/.well-known/workflow/v1/webhook/")
    assert len(url.rpartition("/")[2]) == 43
    assert isinstance(await send(engine, url, request_of()), Accepted)
    method, called, headers, query, body = await run.result()
    assert (method, called) == ("PUT", f"{url}?x=1&x=2&y=")
    assert headers == {"x-a": "1, 2", "authorization": "Bearer canary"}
    assert query == {"x": "2", "y": ""}
    assert body == {"a": 1}


async def test_views_of_the_log_show_neither_url_nor_credentials(engine: Engine) -> None:
    run = await engine.start(one)
    url = await url_of(engine)
    await send(engine, url, request_of())
    await run.result()
    seen = repr([event.data for event in await run.events() if event.kind != "run_completed"])
    assert url.rpartition("/")[2] not in seen
    assert "canary" not in seen
    assert "x-a" in seen


async def test_secrets_of_a_webhook_are_masked(engine: Engine) -> None:
    run = await engine.start(asks_and_answers)
    await url_of(engine)
    assert SECRET not in repr(await run.events())
    await run.terminate("enough")


async def test_a_request_before_the_await_is_kept_and_three_come_in_order(engine: Engine) -> None:
    run = await engine.start(collects)
    url = await url_of(engine)
    for number in range(3):
        await send(engine, url, request_of(number, f"{number}".encode()))
    assert await run.result() == ["0", "1", "2"]
    assert await send(engine, url, request_of(9)) == Refused("ended")


async def test_r18_a_token_that_never_was_is_not_found(engine: Engine) -> None:
    assert await send(engine, "http://x/nonsense", request_of()) == Refused("not_found")
    assert await engine.requests.webhook("nonsense") is None


async def test_the_first_answer_counts(engine: Engine) -> None:
    run = await engine.start(asks_and_answers)
    url = await url_of(engine)
    settings = await engine.requests.webhook(url.rpartition("/")[2])
    assert settings is not None
    assert settings.reply == Reply("manual")
    assert settings.secrets == (SECRET,)
    assert engine.registry.function(settings.verifier) is check
    accepted = await send(engine, url, request_of(manual=True), reply=settings.reply)
    assert isinstance(accepted, Accepted)
    text = (("content-type", "text/plain; charset=utf-8"),)
    assert await engine.requests.answer(accepted.run, "request-1") == Answer(202, text, b"yes")
    assert await run.result() == [True, True, False]


async def test_a_step_answers_and_its_next_attempt_gives_the_same_answer(engine: Engine) -> None:
    run = await engine.start(answers_in_a_step)
    url = await url_of(engine)
    accepted = await send(engine, url, request_of(manual=True), reply=Reply("manual"))
    assert isinstance(accepted, Accepted)
    answered = await engine.requests.answer(accepted.run, "request-1")
    assert answered is not None
    assert answered.body == b'{"id":"request-1"}'
    assert await run.result() is True


@pytest.mark.parametrize("end", ["dispose", "cancel", "terminate"])
async def test_r18_whoever_still_waits_as_it_ends_gets_no_answer(engine: Engine, end: str) -> None:
    run = await engine.start(leaves_them_waiting)
    url = await url_of(engine)
    accepted = await send(engine, url, request_of(manual=True), reply=Reply("manual"))
    assert isinstance(accepted, Accepted)
    waiting = asyncio.ensure_future(engine.requests.answer(accepted.run, "request-1"))
    await asyncio.sleep(1)
    assert not waiting.done()
    match end:
        case "dispose":
            await run.wake_up()
        case "cancel":
            await run.cancel()
        case _:
            await run.terminate()
    assert await waiting is None
    assert await send(engine, url, request_of(2)) == Refused("ended")


async def test_d8_a_repeated_delivery_gets_the_first_answer_also_after_the_end(engine: Engine) -> None:
    run = await engine.start(one)
    url = await url_of(engine)
    reply = Reply("static", Answer(201, (), b"first"))
    first = await send(engine, url, request_of(), key="k", reply=reply)
    assert first == Accepted(run=run.id, link=1, owner=first.owner)  # type: ignore[attr-defined]
    await run.result()
    again = await send(engine, url, request_of(2, b"other"), key="k", reply=Reply())
    assert isinstance(again, Accepted)
    assert again.repeated
    assert again.reply == '{"mode":"static","answer":{"status":201,"body":"Zmlyc3Q="}}'
    assert await send(engine, url, request_of(3)) == Refused("ended")


async def test_a_race_of_a_webhook_against_a_deadline(engine: Engine) -> None:
    run = await engine.start(waits_a_day)
    url = await url_of(engine)
    await send(engine, url, request_of())
    assert await run.result() == "payment"


async def test_a_url_that_was_given_away_outlives_a_change_of_address(make_engine: MakeEngine) -> None:
    async with make_engine() as first:
        run = await first.start(one)
        url = await url_of(first)
    make_elsewhere = make_engine()
    make_elsewhere.base_url = "https://example.com/flows"
    async with make_elsewhere as second:
        await send(second, url, request_of())
        _, called, _, _, _ = await second.get_run(run.id).result()
        assert called.startswith(url)
        other = await second.start(waits_a_day)
        while len(effects("url")) < 2:
            await asyncio.sleep(0.01)
        assert effects("url")[1].startswith("https://example.com/flows/.well-known/workflow/v1/webhook/")
        await other.terminate()


async def test_another_worker_answers_too(make_engine: MakeEngine) -> None:
    """The caller waits at one process, the run lives in another."""
    async with make_engine(worker=False) as front, make_engine() as back:
        await back.start(asks_and_answers)
        url = await url_of(back)
        accepted = await send(front, url, request_of(manual=True), reply=Reply("manual"))
        assert isinstance(accepted, Accepted)
        answer = await front.requests.answer(accepted.run, "request-1")
        assert answer is not None
        assert answer.body == b"yes"


async def test_whoever_was_answered_at_once_can_not_be_answered_again() -> None:
    request = WebhookRequest(RequestHead(id="1"), "http://x", "text/plain", b"\xff")
    with pytest.raises(UsageError, match="answered at once"):
        await request.respond()
    with pytest.raises(PayloadInvalid, match="not JSON"):
        await request.json()
    with pytest.raises(PayloadInvalid, match="not text"):
        await request.text()


@pytest.mark.parametrize(
    "bad",
    [
        {"status": 99},
        {"status": 204, "text": "body"},
        {"headers": {"x": "a\r\nset-cookie: b"}},
        {"headers": {"a b": "c"}},
        {"text": "x" * 2_000_000},
    ],
)
def test_an_answer_that_http_can_not_carry_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"status|body|header|bytes"):
        Response(**bad)  # type: ignore[arg-type]


async def test_a_url_is_carried_as_a_secret(make_engine: MakeEngine) -> None:
    codec = make_engine().codec
    carried = codec.encode(WebhookUrl("https://x/token"))
    assert b'"secret":true' in carried
    assert codec.decode(carried) == "https://x/token"


@workflow
async def bad_webhooks() -> list[str]:
    def local(headers: object, body: object) -> bool:
        return True

    found: list[str] = []
    for options in ({"secret": "short"}, {"verify": local}, {"respond_within": 0}, {"respond_within": "2 days"}):
        try:
            create_webhook(**options)  # type: ignore[arg-type]
        except ValueError as error:
            found.append(str(error).partition(" ")[0])
    return found


async def test_what_can_not_be_a_webhook_is_told_where_it_is_made(engine: Engine) -> None:
    assert len(await (await engine.start(bad_webhooks)).result()) == 4
