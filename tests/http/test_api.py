"""The REST API does what it says, and says what it did not do."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest

from outlive import Engine

from . import flows
from .conftest import Front, until

RUNS = "/api/v1/runs"


@pytest.fixture(autouse=True)
def forget() -> None:
    flows.urls.clear()


@pytest.fixture
def client(front: Front) -> httpx2.AsyncClient:
    return front.client("operator")


async def start(client: httpx2.AsyncClient, workflow: str, *args: object, **more: object) -> dict[str, Any]:
    body = {"workflow": f"tests.http.flows:{workflow}", "args": args, **more}
    answer = await client.post(RUNS, json=body)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def act(client: httpx2.AsyncClient, path: str, **body: object) -> httpx2.Response:
    return await client.post(f"{RUNS}/{path}", json=body)


def problem(answer: httpx2.Response, status: int, code: str) -> str:
    """The detail of a refusal that looks as it should."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert (told["status"], told["code"], len(told["id"])) == (status, code, 16)
    assert "Traceback" not in answer.text and "/src/" not in answer.text and ".py" not in told["detail"]
    detail: str = told["detail"]
    return detail


async def test_a_run_from_its_start_to_its_result(client: httpx2.AsyncClient) -> None:
    run = await start(client, "order", {"id": 7, "items": ["tea", "pot"]}, tags=["vip"])
    assert (run["workflow"], run["tags"], run["link"]) == ("tests.http.flows:order", ["vip"], 1)
    result = (await client.get(f"{RUNS}/{run['id']}/result", params={"wait": 20})).json()
    assert result == {"status": "completed", "result": "7: tea, pot", "error": None}
    shown = (await client.get(f"{RUNS}/{run['id']}")).json()
    assert shown["status"] == "completed" and shown["ended_at"] is not None
    events = (await client.get(f"{RUNS}/{run['id']}/events")).json()
    assert [event["kind"] for event in events["events"]] == ["run_created", "run_started", "run_completed"]


async def test_the_same_call_with_the_same_id_is_the_same_run(client: httpx2.AsyncClient, front: Front) -> None:
    both = [await start(client, "order", {"id": 1, "items": []}, run_id="order-1") for _ in range(2)]
    assert [run["id"] for run in both] == ["order-1"] * 2
    assert len(await front.engine.list_runs()) == 1
    body = {"workflow": "tests.http.flows:order", "args": [{"id": 2, "items": []}], "run_id": "order-1"}
    problem(await client.post(RUNS, json=body), 409, "run-conflict")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"workflow": "tests.http.flows:nonsense"}, 404, "unknown-workflow"),
        ({"workflow": "tests.http.flows:tell", "args": ["x"]}, 404, "unknown-workflow"),
        ({"workflow": "os:system", "args": ["true"]}, 404, "unknown-workflow"),
        ({"workflow": "tests.http.flows:order", "args": []}, 422, "payload-invalid"),
        ({"workflow": "tests.http.flows:order", "args": [{"id": "x", "items": []}]}, 422, "payload-invalid"),
        ({"workflow": "tests.http.flows:order", "kwargs": {"other": 1}}, 422, "payload-invalid"),
        ({"workflow": "tests.http.flows:order", "args": [], "extra": 1}, 422, "unprocessable-content"),
        ({"workflow": "tests.http.flows:order", "args": {}}, 422, "unprocessable-content"),
        ({"workflow": "tests.http.flows:order", "run_id": "a/b"}, 422, "unprocessable-content"),
        ({}, 422, "unprocessable-content"),
        ([], 422, "unprocessable-content"),
    ],
)
async def test_what_can_not_be_started_is_refused(
    client: httpx2.AsyncClient, front: Front, body: object, status: int, code: str
) -> None:
    problem(await client.post(RUNS, json=body), status, code)
    assert await front.engine.list_runs() == [], "nothing was started"


async def test_pages_hold_each_run_once(client: httpx2.AsyncClient, front: Front) -> None:
    for number in range(7):
        await start(client, "order", {"id": number, "items": []}, run_id=f"order-{number}", tags=[f"tag-{number % 2}"])
    await start(client, "named", run_id="other")
    seen: list[str] = []
    before = None
    while True:
        params = {"limit": "3"} | ({"before": before} if before else {})
        page = (await client.get(RUNS, params=params)).json()
        seen += [run["id"] for run in page["runs"]]
        before = page["next"]
        if before is None:
            break
    assert sorted(seen) == ["order-0", "order-1", "order-2", "order-3", "order-4", "order-5", "order-6", "other"]
    await until(lambda: "other" in (front.engine.worker.hot if front.engine.worker else ()))

    async def ids(**params: str) -> set[str]:
        return {run["id"] for run in (await client.get(RUNS, params=params)).json()["runs"]}

    assert await ids(tag="tag-1") == {"order-1", "order-3", "order-5"}
    assert await ids(workflow="tests.http.flows:named") == {"other"}
    assert await ids(status="running") == {"other"}
    assert await ids(root="order-2") == {"order-2"}
    for wrong in ({"limit": "0"}, {"limit": "201"}, {"status": "x"}, {"before": "a/b"}, {"tag": "\x00"}):
        problem(await client.get(RUNS, params=wrong), 422, "unprocessable-content")


async def test_events_come_in_pages_and_without_secrets(client: httpx2.AsyncClient) -> None:
    run = await start(client, "echo")
    await until(lambda: flows.urls)
    token = flows.urls[-1].rpartition("/")[2]
    kinds: list[str] = []
    after = 0
    while True:
        answer = await client.get(f"{RUNS}/{run['id']}/events", params={"after": after, "limit": 2})
        assert token not in answer.text and '"seed"' not in answer.text
        page = answer.json()
        kinds += [event["kind"] for event in page["events"]]
        if page["next"] is None:
            break
        after = page["next"]
    assert kinds[:3] == ["run_created", "run_started", "hook_created"]
    assert len(kinds) >= 4
    hooks = (await client.get(f"{RUNS}/{run['id']}/hooks")).json()
    assert [(hook["webhook"], hook["pending"]) for hook in hooks] == [(True, 0)]


async def test_failure_cancel_terminate_and_wake(client: httpx2.AsyncClient, front: Front) -> None:
    failed = await start(client, "fails")
    result = (await client.get(f"{RUNS}/{failed['id']}/result", params={"wait": 20})).json()
    assert (result["status"], result["error"]) == ("failed", "ValueError: as it should")
    assert (await act(client, f"{failed['id']}/cancel")).json() == {"done": False}

    waiting = await start(client, "named", run_id="waiting")
    assert (await client.get(f"{RUNS}/waiting/result")).json()["status"] == "running"
    assert (await act(client, "waiting/wake")).json() == {"done": True}
    assert (await act(client, "waiting/cancel")).json() == {"done": True}
    assert (await client.get(f"{RUNS}/waiting/result", params={"wait": 20})).json()["status"] == "cancelled"

    await start(client, "streams", 100_000, 1.0, run_id="long")
    assert (await act(client, "long/terminate", reason="enough")).json() == {"done": True}
    ended = (await client.get(f"{RUNS}/long/result", params={"wait": 20})).json()
    assert (ended["status"], ended["error"]) == ("terminated", "enough")
    assert (await act(client, "long/terminate")).json() == {"done": False}
    assert waiting["status"] in ("pending", "running")


@pytest.mark.parametrize("path", ["", "/events", "/result", "/hooks", "/streams"])
async def test_a_run_that_is_not_there(client: httpx2.AsyncClient, path: str) -> None:
    assert "no run nowhere" in problem(await client.get(f"{RUNS}/nowhere{path}"), 404, "run-not-found")


@pytest.mark.parametrize("action", ["cancel", "terminate", "wake"])
async def test_a_run_that_is_not_there_can_not_be_changed(client: httpx2.AsyncClient, action: str) -> None:
    problem(await act(client, f"nowhere/{action}"), 404, "run-not-found")


async def test_hooks_are_listed_and_resumed_once(client: httpx2.AsyncClient, front: Front) -> None:
    run = await start(client, "named", run_id="asks")
    webhook = await start(client, "echo", run_id="echoes")
    await until(lambda: flows.urls)
    while len((await client.get("/api/v1/hooks")).json()["hooks"]) < 2:
        await asyncio.sleep(0.005)
    first = (await client.get("/api/v1/hooks", params={"limit": 1})).json()
    second = (await client.get("/api/v1/hooks", params={"limit": 1, "before": first["next"]})).json()
    assert [page["hooks"][0]["run_id"] for page in (first, second)] == [webhook["id"], run["id"]]
    problem(await client.get("/api/v1/hooks", params={"before": "x"}), 422, "unprocessable-content")

    async def resume(**body: object) -> httpx2.Response:
        return await client.post("/api/v1/hooks/resume", json=body)

    problem(await resume(token="no-such-token"), 404, "hook-not-found")
    problem(await resume(token=flows.urls[-1].rpartition("/")[2]), 404, "hook-not-found")
    problem(await resume(token="a\nb"), 422, "unprocessable-content")
    for _ in range(2):
        answer = await resume(token="guess-me", payload={"by": "me"}, idempotency_key="k")
        assert (answer.status_code, answer.json()) == (202, {"done": True})
    result = (await client.get(f"{RUNS}/asks/result", params={"wait": 20})).json()
    assert result["result"] == {"by": "me"}


async def test_streams_are_listed(client: httpx2.AsyncClient) -> None:
    run = await start(client, "streams", 2)
    await client.get(f"{RUNS}/{run['id']}/result", params={"wait": 20})
    [stream] = (await client.get(f"{RUNS}/{run['id']}/streams")).json()
    assert (stream["name"], stream["length"], stream["closed"]) == ("numbers", 3, False)


async def test_what_is_known_here(client: httpx2.AsyncClient) -> None:
    known = {flow["name"]: flow["doc"] for flow in (await client.get("/api/v1/workflows")).json()}
    assert known["tests.http.flows:echo"] == "Takes one request and gives it back."
    assert "tests.http.flows:tell" not in known, "steps are nobody's to call"
    assert (await client.get("/readyz")).json() == {"ready": True}
    document = (await client.get("/openapi.json")).json()
    assert "/api/v1/runs/{run_id}" in document["paths"]


async def test_a_process_that_only_serves_is_ready_too(front: Front) -> None:
    from .conftest import fronted

    async with fronted(Engine(front.engine.url, worker=False)) as idle:
        assert (await idle.client("viewer").get("/readyz")).json() == {"ready": True}


async def test_a_store_that_can_not_be_used_is_not_ready(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    from outlive import StoreUnavailable

    async def fails() -> None:
        raise StoreUnavailable("/secret/path is gone")

    monkeypatch.setattr(front.engine, "check", fails)
    answer = await front.client("viewer").get("/readyz")
    problem(answer, 503, "store-unavailable")
    assert "/secret/path" not in answer.text
    assert answer.headers["retry-after"] == "5"


async def test_an_error_that_nobody_foresaw_tells_nothing(
    front: Front, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails() -> None:
        raise ZeroDivisionError("the password is swordfish")

    monkeypatch.setattr(front.engine, "check", fails)
    answer = await front.client("viewer").get("/readyz")
    detail = problem(answer, 500, "internal-error")
    assert "swordfish" not in answer.text
    assert "logged" in detail
    assert "swordfish" in caplog.text
    assert answer.json()["id"] in caplog.text, "whoever complains names the id, and the log has it"
