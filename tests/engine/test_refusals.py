"""What a store can't hold is refused at the call, and what it refuses all the same is never called done."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

import outlive
from outlive import Engine, create_hook, patched, resume_hook, start, step, workflow
from outlive.errors import InternalError
from outlive.model.entries import Entry, Message, Outcome, Rejected, Terminate

BAD_TEXTS = ["\ud800", "a\0b", "x" * 100_000]


@workflow
async def waits(token: str) -> object:
    with create_hook(token=token) as hook:
        return await hook


@workflow
async def childless() -> None: ...


@workflow
async def asks(what: str, text: str) -> str:
    try:
        match what:
            case "run_id":
                await start(childless.options(run_id=text))
            case "tag":
                await start(childless.options(tags=[text]))
            case "token":
                create_hook(token=text)
            case _:
                patched(text)
    except ValueError as error:
        return str(error)
    return "taken"


@step(max_retries=0)
async def sends(token: str, key: str) -> None:
    await resume_hook(token, 1, idempotency_key=key)


@workflow
async def sends_in_a_step(token: str, key: str) -> None:
    await sends(token, key)


@pytest.mark.parametrize("text", [*BAD_TEXTS, "k" * 256])
async def test_a_key_that_can_not_be_stored_is_refused_and_nothing_is_lost(engine: Engine, text: str) -> None:
    run = await engine.start(waits, "t")
    await asyncio.sleep(1)
    with pytest.raises(ValueError, match="an idempotency key"):
        await engine.resume_hook("t", "lost", idempotency_key=text)
    await engine.resume_hook("t", "kept", idempotency_key="k" * 255)
    assert await run.result() == "kept"


@pytest.mark.parametrize("text", BAD_TEXTS[:2])
async def test_what_no_run_can_be_called_is_not_looked_for(engine: Engine, text: str) -> None:
    """It looked like a store that is away."""
    with pytest.raises(ValueError, match="the id of a run can't hold"):
        engine.get_run(text)
    for name in ("workflow", "tag", "root", "before"):
        with pytest.raises(ValueError, match="a filter can't hold"):
            await engine.list_runs(**{name: text})


async def test_in_a_step_too(engine: Engine) -> None:
    await engine.start(waits, "t")
    await asyncio.sleep(1)
    with pytest.raises(outlive.RunFailed) as caught:
        await (await engine.start(sends_in_a_step, "t", "k" * 256)).result()
    assert "an idempotency key" in str(caught.value.__cause__)


@pytest.mark.parametrize("text", BAD_TEXTS)
async def test_a_reason_that_can_not_be_stored_ends_no_run(engine: Engine, text: str) -> None:
    run = await engine.start(waits, "t")
    with pytest.raises(ValueError, match="a reason"):
        await run.terminate(text)
    assert not (await run.status()).ended
    assert await run.terminate("r" * 4_000)


@pytest.mark.parametrize("text", BAD_TEXTS)
def test_a_tag_that_can_not_be_stored_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a tag"):
        childless.options(tags=[text])


@pytest.mark.parametrize(
    ("what", "text"),
    [
        *((what, text) for what in ("run_id", "tag", "token", "patch") for text in BAD_TEXTS),
        *(("run_id", text) for text in ("", "..", "a/b", "a b\n")),
        ("token", ""),
    ],
)
async def test_a_body_is_told_and_can_go_on(engine: Engine, what: str, text: str) -> None:
    assert await (await engine.start(asks, what, text)).result() != "taken"


async def test_what_the_store_refuses_is_not_called_done(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    run = await engine.start(waits, "t")
    await asyncio.sleep(1)
    commit = engine.store.commit

    async def refuse(worker: object, entries: Sequence[Entry]) -> list[Outcome]:
        if any(isinstance(entry, (Message, Terminate)) for entry in entries):
            return [Rejected("there is something about it") for _ in entries]
        return await commit(worker, entries)  # type: ignore[arg-type]

    monkeypatch.setattr(engine.store, "commit_now", lambda _worker, _entries: None)
    monkeypatch.setattr(engine.store, "commit", refuse)
    for ask in (engine.resume_hook("t", 1), run.terminate(), run.cancel(), run.wake_up()):
        with pytest.raises(InternalError, match="there is something about it"):
            await ask
    monkeypatch.undo()
    await engine.resume_hook("t", "kept")
    assert await run.result() == "kept"
