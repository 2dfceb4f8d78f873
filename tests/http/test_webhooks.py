"""Webhooks over real HTTP: truthful statuses, and nothing accepted is lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import apsw
import pytest
from standardwebhooks.webhooks import Webhook

from outlive import Engine, Run

from . import flows
from .conftest import WEBHOOK, Front, fronted, until


@pytest.fixture(autouse=True)
def forget() -> None:
    flows.urls.clear()


async def opened(front: Front, run: Run[object]) -> str:
    """The path of the webhook that ``run`` gave away."""
    await until(lambda: flows.urls)
    assert flows.urls[-1].startswith(f"http://localhost:8000{WEBHOOK}")
    return flows.urls[-1].removeprefix("http://localhost:8000")


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_each_method_arrives_whole(front: Front, method: str) -> None:
    run = await front.engine.start(flows.echo)
    path = await opened(front, run)
    body = b"" if method in ("GET", "HEAD") else b"\x00raw\xff"
    answer = await front.client().request(method, f"{path}?a=1&b=", content=body, headers={"x-mine": "yes"})
    assert answer.status_code == 202
    assert answer.text == ("" if method == "HEAD" else '{"status":"accepted"}')
    got = await run.result()
    assert (got["method"], got["query"], got["body"]) == (method, {"a": "1", "b": ""}, body)
    assert got["headers"]["x-mine"] == "yes"


async def test_before_the_await_twice_and_after_the_end(front: Front) -> None:
    run = await front.engine.start(flows.late)
    path = await opened(front, run)
    client = front.client()
    assert (await client.post(path, content=b"first")).status_code == 202
    assert (await client.post(path, content=b"second")).status_code == 202
    assert await run.result() == "first"
    gone = await client.post(path, content=b"third")
    assert gone.status_code == 410
    assert gone.headers["content-type"] == "application/problem+json"
    kinds = [event.kind for event in await run.events()]
    assert kinds.count("hook_received") + kinds.count("hook_discarded") == 2, "nothing accepted is lost, also unread"


async def test_a_disposed_one_is_gone_and_one_that_never_was_is_not_found(front: Front) -> None:
    run = await front.engine.start(flows.disposes)
    path = await opened(front, run)
    client = front.client()
    assert (await client.post(path)).status_code == 202
    while (await client.post(path)).status_code == 202:
        await asyncio.sleep(0.01)
    assert (await client.post(path)).status_code == 410
    assert (await client.post(WEBHOOK + "A" * 43)).status_code == 404
    assert (await client.post(WEBHOOK + "short")).status_code == 404


async def test_a_hook_is_no_webhook_however_well_its_token_is_guessed(front: Front) -> None:
    token = "guess-me-" + "x" * 34
    run = await front.engine.start(flows.named)
    client = front.client()
    assert (await client.post(WEBHOOK + "guess-me")).status_code == 404
    assert (await client.post(WEBHOOK + token)).status_code == 404
    assert await front.engine.requests.webhook("guess-me") is None
    await run.terminate()


async def test_fifty_clients_at_once_on_one_token(front: Front) -> None:
    run = await front.engine.start(flows.collect, 50)
    path = await opened(front, run)
    client = front.client()
    answers = await asyncio.gather(*(client.post(path, content=f"{number:02}") for number in range(50)))
    assert {answer.status_code for answer in answers} == {202}
    assert await run.result() == [f"{number:02}" for number in range(50)]


async def test_a_static_answer_is_given_at_once(front: Front) -> None:
    run = await front.engine.start(flows.three)
    path = await opened(front, run)
    answer = await front.client().post(path)
    assert (answer.status_code, answer.text) == (203, "thanks")
    assert answer.headers["x-thanks"] == "yes"
    await run.terminate()


@pytest.mark.parametrize("header", ["Idempotency-Key", "webhook-id"])
async def test_d8_a_repeated_delivery_has_the_first_answer_and_is_not_repeated(front: Front, header: str) -> None:
    run = await front.engine.start(flows.three)
    path = await opened(front, run)
    client = front.client()
    for _ in range(3):
        answer = await client.post(path, content=b"once", headers={header: "evt_1"})
        assert (answer.status_code, answer.text) == (203, "thanks")
    await client.post(path, content=b"two")
    await client.post(path, content=b"three")
    assert await run.result() == ["once", "two", "three"]
    again = await client.post(path, content=b"once", headers={header: "evt_1"})
    assert (again.status_code, again.text) == (203, "thanks"), "also after the end"
    assert (await client.post(path, content=b"once", headers={header: "evt_2"})).status_code == 410
    assert (await client.post(path, headers={header: "x" * 256})).status_code == 422


async def test_the_workflow_answers_from_a_step_and_from_its_body(front: Front) -> None:
    run = await front.engine.start(flows.by_hand)
    path = await opened(front, run)
    client = front.client()
    first = await client.post(path, content=b"hello")
    assert (first.status_code, first.json()) == (201, {"got": "hello"})
    assert first.headers["x-made-by"] == "a step"
    keyed = [await client.post(path, content=b"once", headers={"idempotency-key": "k"}) for _ in range(2)]
    assert [(answer.status_code, answer.json()) for answer in keyed] == [(201, {"got": "once"})] * 2
    last = await client.post(path, content=b"end")
    assert (last.status_code, last.text) == (200, "from the body")
    assert await run.result() == 3


async def test_who_waits_too_long_and_who_waits_as_it_ends(front: Front) -> None:
    run = await front.engine.start(flows.never_answers)
    path = await opened(front, run)
    client = front.client()
    late = await client.post(path)
    assert (late.status_code, late.json()["code"]) == (504, "gateway-timeout")
    waiting = asyncio.create_task(client.post(path))
    while [event.kind for event in await run.events()].count("hook_received") < 2:
        await asyncio.sleep(0.005)
    await run.terminate("enough")
    assert (await waiting).status_code == 410


async def test_signed_requests(front: Front) -> None:
    run = await front.engine.start(flows.signed)
    path = await opened(front, run)
    client, now = front.client(), datetime.now(UTC)

    def headers(secret: str, body: str, at: datetime = now) -> dict[str, str]:
        signature = Webhook(secret).sign("msg_1", at, body)
        return {"webhook-id": "msg_1", "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": signature}

    good = headers(flows.SECRETS[1], "pay")
    for bad in (
        {},
        good | {"webhook-signature": "v1,AAAA"},
        good | {"webhook-signature": "nonsense"},
        good | {"webhook-id": "msg_2"},
        headers("whsec_" + "B" * 40, "pay"),
        headers(flows.SECRETS[0], "pay", now - timedelta(minutes=6)),
        headers(flows.SECRETS[0], "other"),
    ):
        refused = await client.post(path, content=b"pay", headers=bad)
        assert (refused.status_code, refused.json()["code"]) == (401, "bad-signature"), bad
    assert (await client.post(path, content=b"\xff", headers=good)).status_code == 401
    accepted = await client.post(path, content=b"pay", headers=good | {"idempotency-key": "mine"})
    assert accepted.status_code == 202
    replayed = await client.post(path, content=b"pay", headers=good | {"idempotency-key": "another"})
    assert replayed.status_code == 202
    assert await run.result() == "pay"
    assert [event.kind for event in await run.events()].count("hook_received") == 1, "a replay is no new delivery (D9)"


async def test_a_verifier_of_ones_own(front: Front) -> None:
    run = await front.engine.start(flows.verified)
    path = await opened(front, run)
    client = front.client()
    assert (await client.post(path, content=b"x")).status_code == 401
    assert (await client.post(path, content=b"explode", headers={"X-Proof": "yes"})).status_code == 401
    assert (await client.post(path, content=b"x", headers={"X-Proof": "yes"})).status_code == 202
    assert await run.result() == "x"


async def test_what_can_not_be_taken_is_told(front: Front) -> None:
    run = await front.engine.start(flows.collect, 3)
    path = await opened(front, run)
    client = front.client()
    assert (await client.post(path, content=b"x" * 1_048_577)).status_code == 413

    async def endless() -> object:
        for _ in range(40):
            yield b"x" * 65_536

    assert (await client.post(path, content=endless())).status_code == 413
    assert (await client.post(path, content=b"x", headers={"content-encoding": "gzip"})).status_code == 415
    assert (await client.request("TRACE", path)).status_code == 405
    form = await client.post(path, data={"coming": "yes"})
    assert form.status_code == 202, "raw bytes and their content type go to the run (S16)"
    await run.terminate()


async def test_too_many_that_wait_are_sent_away(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outlive._runtime.requests.MOST_REQUESTS", 2)
    async with fronted(Engine(front.engine.url, worker=False)) as idle:
        run = await front.engine.start(flows.late)
        path = await opened(front, run)
        assert front.engine.worker is not None
        await front.engine.worker.close(0)
        client = idle.client()
        codes = [(await client.post(path)).status_code for _ in range(4)]
        assert codes == [202, 202, 429, 429]
        assert (await client.post(path)).headers["retry-after"] == "5"


async def test_a_store_that_is_down_is_never_not_found(
    make_engine: Callable[..., Engine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("connection", "store", "writing"):
        monkeypatch.setattr(f"outlive.stores.sqlite.{module}.BUSY_MS", 50)
    async with fronted(make_engine()) as front:
        run = await front.engine.start(flows.collect, 1)
        path = await opened(front, run)
        client = front.client()
        other_program = apsw.Connection(str(tmp_path / "outlive.db"))
        other_program.set_busy_timeout(5_000)
        other_program.execute("BEGIN EXCLUSIVE")
        for token in (path, WEBHOOK + "A" * 43):
            answer = await client.post(token, content=b"x")
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "5"
            assert "store" in answer.json()["detail"]
        other_program.execute("ROLLBACK")
        other_program.close()
        while (answer := await client.post(path, content=b"y")).status_code == 503:
            await asyncio.sleep(0.05)
        assert answer.status_code == 202
        assert await run.result() == ["y"]


async def test_s24_no_token_in_any_log(front: Front, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    run = await front.engine.start(flows.echo)
    path = await opened(front, run)
    client = front.client()
    await client.post(f"{path}?secret=canary", headers={"authorization": "Bearer canary", "cookie": "canary"})
    await client.post(path)
    await run.result()
    token = path.rpartition("/")[2]
    ours = [r.getMessage() for r in caplog.records if not r.name.startswith(("httpx", "httpcore"))]
    assert any(f"POST {WEBHOOK}hidden" in line for line in ours), "the access log is there, without its token"
    assert not [line for line in ours if token in line or "canary" in line]


async def test_the_url_begins_with_the_base_url(make_engine: Callable[..., Engine]) -> None:
    async with make_engine(base_url="https://example.com/outlive/") as engine:
        run = await engine.start(flows.echo)
        await until(lambda: flows.urls)
        assert flows.urls[-1].startswith(f"https://example.com/outlive{WEBHOOK}")
        await run.terminate()
