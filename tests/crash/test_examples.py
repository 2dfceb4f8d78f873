"""The workflows of the examples crash before and after each of their commits, in one process and in virtual time."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from types import ModuleType

import pytest
from msgspec import structs

from outlive.testing.crashpoints import Client, StoreKind, crash_everywhere
from tests.servers.schemas import empty_postgres

EXAMPLES = Path(__file__).parents[2] / "examples"
Story = Callable[[ModuleType, Client], Awaitable[object]]


async def sequential_pipeline(m: ModuleType, client: Client) -> object:
    return await client.run(m.pipeline, "sales")


async def parallel_fan_out(m: ModuleType, client: Client) -> object:
    return await client.run(m.make_book, "The Whale", list(m.CHAPTERS))


async def render_farm(m: ModuleType, client: Client) -> object:
    # in virtual time nobody waits for another process: there it is a step like any other
    m.join.step_options = structs.replace(m.join.step_options, executor="")
    return await client.run(m.make_film, "whales", 5)


async def hook_or_deadline(m: ModuleType, client: Client) -> object:
    verdict = m.Verdict("Maxwell", approved=True)
    editing = asyncio.create_task(client.send("review:essay", verdict, key="essay"))
    essay = await client.run(m.review.options(run_id="essay"), "essay")
    await editing
    return [essay, await client.run(m.review.options(run_id="poem"), "poem")]


async def birthday_card(m: ModuleType, client: Client) -> object:
    replies = {"Ben": m.Rsvp(coming=True, wish="Cheers"), "Cleo": m.Rsvp(coming=False, wish="Sorry")}
    answers = [client.send(f"rsvp:Ada:{guest}", reply, key=guest) for guest, reply in replies.items()]
    guests = [*replies, "Eve"]
    card, *_ = await asyncio.gather(client.run(m.birthday_card, "Ada", guests, ahead=timedelta(days=30)), *answers)
    return card


async def all_settled(m: ModuleType, client: Client) -> object:
    return await client.run(m.refresh, ["news", "broken-blog"])


async def bounded_batch(m: ModuleType, client: Client) -> object:
    return await client.run(m.make_thumbnails, 8, 3)


async def deadlines(m: ModuleType, client: Client) -> object:
    return await client.run(m.front_page, for_horoscope="0.3s", for_crossword=5)


async def retries_and_rate_limits(m: ModuleType, client: Client) -> object:
    return await client.run(m.pay, 100.0, ["expired", "visa"])


async def saga(m: ModuleType, client: Client) -> object:
    oslo = await client.start(m.book_trip.options(run_id="oslo"), "Oslo", budget=2000)
    await client.seen(oslo, "hook_created")
    await client.cancel(oslo)
    return await client.result(oslo)


async def child_workflows(m: ModuleType, client: Client) -> object:
    return await client.run(m.monthly_report, ["north", "west"])


async def daily_digest(m: ModuleType, client: Client) -> object:
    return await client.run(m.daily_digest, "Ada", days=3)


STORIES: list[Story] = [
    sequential_pipeline, parallel_fan_out, render_farm, hook_or_deadline, birthday_card, all_settled, bounded_batch, deadlines,
    retries_and_rate_limits, saga, child_workflows, daily_digest,
]  # fmt: skip


def test_every_example_is_here() -> None:
    assert {story.__name__ for story in STORIES} == {path.stem for path in EXAMPLES.glob("[!_]*.py")}


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_it_survives_a_crash_at_every_commit(story: Story, kind: StoreKind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    module = importlib.import_module(story.__name__)
    # a card's invitations name the day, and its answers come in any order: only its end is the same
    crash_everywhere(lambda client: story(module, client), store=kind, same_log=story is not birthday_card)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_it_survives_a_crash_at_every_commit_on_postgres(
    story: Story, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    module = importlib.import_module(story.__name__)
    store = empty_postgres(postgres_url)
    crash_everywhere(lambda client: story(module, client), store=store, same_log=story is not birthday_card)
