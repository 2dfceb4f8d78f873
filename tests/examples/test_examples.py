"""Every example runs to its end, and is killed at several effects and gets to the same end when it is run again."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from outlive import Engine, RunFailed

from .driver import DEADLINE, EXAMPLES, Example, check_resumed, kill_and_resume

pytestmark = pytest.mark.slow


@dataclass(frozen=True, kw_only=True)
class Story:
    """An example, what it prints at the end, and how often each effect happens when nothing goes wrong."""

    script: str
    printed: list[str]
    effects: dict[str, int]
    kills: tuple[int, ...]
    """Effects to kill it at; never the last one, after which it may end before it dies."""


STORIES = [
    Story(
        script="sequential_pipeline.py",
        printed=["published at https://reports.example/sales?total=22"],
        effects={"extracted": 1, "cleaned": 1, "summarized": 1, "published": 1},
        kills=(1, 2, 3),
    ),
    Story(
        script="parallel_fan_out.py",
        printed=["The Whale, in only 11 words (cover: The Whale.png)"],
        effects={"counted": 3, "wrote a blurb for": 1, "drew a cover for": 1},
        kills=(2, 4),
    ),
    Story(
        script="render_farm.py",
        printed=["whales.mp4"],
        effects={"rendered": 12, "joined": 1},
        kills=(1, 3, 8, 12),
    ),
    Story(
        script="hook_or_deadline.py",
        printed=["essay: published", "poem: nobody looked at it"],
        effects={"asked for a review of": 2, "published": 1},
        kills=(1, 2, 3),
    ),
    Story(
        script="birthday_card.py",
        printed=[
            "[Roses are red, Ada is great]",
            "Ben: Many happy returns!",
            "Cleo: So sorry to miss it",
            "Dora: I bring the cake",
        ],
        effects={"wrote a verse for": 1, "drew a card saying": 1, "invited": 4, "noted that": 3, "sent the card to": 1},
        kills=(),
    ),
    Story(
        script="all_settled.py",
        printed=[
            "news: 4 entries",
            "broken-blog: failed: broken-blog does not answer",
            "weather: 7 entries",
            "broken-wiki: failed: broken-wiki does not answer",
        ],
        effects={"asked": 6},
        kills=(1, 4),
    ),
    Story(
        script="bounded_batch.py",
        printed=["total size: 2997"],
        effects={"made thumbnail": 1000},
        kills=(1, 500),
    ),
    Story(
        script="deadlines.py",
        printed=["page: the headlines | the weather | timeout | no crossword today"],
        effects={"asked for the": 4, "printed": 1},
        kills=(2, 4),
    ),
    Story(
        script="retries_and_rate_limits.py",
        printed=["paid with visa: receipt for retries_and_rate_limits:charge"],
        effects={"asked for the rate of": 3, "declined": 1, "charged": 1},
        kills=(1, 2, 4),
    ),
    Story(
        script="saga.py",
        printed=["Rome failed: Rome costs 1000, not 10", "Oslo was cancelled"],
        effects={"booked": 6, "refused": 1, "paid": 1, "released": 6},
        kills=(5, 12),
    ),
    Story(
        script="child_workflows.py",
        printed=["north 30, south 15, west 40; all: 85"],
        effects={"read the sales of": 6, "wrote the report of": 1},
        kills=(1, 4, 6),
    ),
    Story(
        script="daily_digest.py",
        printed=["Ada got 5 headlines in 3 days"],
        effects={"collected the headlines of": 3, "sent": 3},
        kills=(1, 2, 5),
    ),
]


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a store of its own."""
    given: str = request.getfixturevalue("postgres_url") if request.param == "postgres" else ""
    return given or f"sqlite:///{tmp_path / 'runs.db'}"


def test_every_example_has_a_story() -> None:
    assert {story.script for story in STORIES} == {path.name for path in EXAMPLES.glob("[!_]*.py")}


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.script)
def test_it_runs_to_its_end(story: Story, tmp_path: Path, url: str) -> None:
    example = Example(story.script, tmp_path, url)
    assert example.run() == story.printed
    assert Counter(effect.what for effect in example.effects()) == story.effects


@pytest.mark.parametrize(
    ("story", "at"),
    [(story, at) for story in STORIES for at in story.kills],
    ids=lambda value: getattr(value, "script", value),
)
def test_killed_and_run_again_it_gets_to_the_same_end(story: Story, at: int, tmp_path: Path, url: str) -> None:
    assert kill_and_resume(Example(story.script, tmp_path, url), at=at) == story.printed


def test_run_again_after_its_end_it_does_nothing_and_prints_the_same(tmp_path: Path, url: str) -> None:
    example = Example("sequential_pipeline.py", tmp_path, url)
    first = example.run()
    effects = example.effects()
    assert example.run() == first
    assert example.effects() == effects


@pytest.mark.parametrize("at", [1, 4, 8])
def test_a_killed_birthday_card_forgets_no_answer(at: int, tmp_path: Path, url: str) -> None:
    # thirty days ahead, so that no answer can come too late however slow this machine is; the test ends the wait
    example = Example("birthday_card.py", tmp_path, url, "2592000")
    example.run_and_kill(at)
    printed = check_resumed(example, lambda: example.run(meanwhile=lambda: asyncio.run(_the_day_comes(example))))
    assert printed == next(story.printed for story in STORIES if story.script == "birthday_card.py")


async def _the_day_comes(example: Example) -> None:
    """Ends the wait for the day, from another process, once everybody is invited and all answers are noted."""
    async with asyncio.timeout(DEADLINE), Engine(example.url, worker=False) as engine:
        card = engine.get_run("card-for-ada")
        while not (await card.status()).ended:
            done = Counter(event.data["name"] for event in await card.events() if event.kind == "step_completed")
            if done["birthday_card:invite"] == 4 and done["birthday_card:note_answer"] == 3:
                await card.wake_up()
            with contextlib.suppress(TimeoutError, RunFailed):
                await card.result(timeout=0.05)


def test_killed_again_and_again_it_gets_to_the_same_end(tmp_path: Path, url: str) -> None:
    example = Example("child_workflows.py", tmp_path, url)
    for at in (1, 3, 5):
        example.run_and_kill(at)
    assert kill_and_resume(example, at=6) == ["north 30, south 15, west 40; all: 85"]


def test_a_saga_releases_whatever_it_may_have_booked(tmp_path: Path, url: str) -> None:
    example = Example("saga.py", tmp_path, url)
    kill_and_resume(example, at=2)
    tally = example.tally()
    booked = {detail for what, detail in tally if what == "booked"}
    assert {detail for what, detail in tally if what == "released"} == booked
