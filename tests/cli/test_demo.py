"""``outlive demo``, and the ledger by which it judges itself."""

from __future__ import annotations

import pytest

from outlive.cli.demo.ledger import Line, faults
from outlive.cli.demo.order import Order

from .conftest import Project

EXPECTED = Order.steps
RECORDED = {"validate", "charge", "reserve_stock"}
CUT_OFF = ("print_label", "book_courier")


def lines() -> list[Line]:
    """Of a demo that went well: process 1 was killed, process 2 went on."""
    first = [Line(name, what, 1, name) for name in EXPECTED[:3] for what in ("began", "done")]
    begun = [Line(name, "began", 1, name) for name in CUT_OFF]
    second = [Line(name, what, 2, name) for name in EXPECTED[3:] for what in ("began", "done")]
    return [*first, *begun, *second]


def judge(ledger: list[Line]) -> list[str]:
    return faults(ledger, expected=EXPECTED, first=1, second=2, recorded=RECORDED)


def test_steps_that_were_done_once_are_no_fault() -> None:
    assert judge(lines()) == []


def test_a_recorded_step_that_begins_again_is_a_fault() -> None:
    assert judge([*lines(), Line("charge", "began", 2, "charge")]) == ["charge was recorded, and began again"]


def test_a_step_that_is_done_twice_is_a_fault() -> None:
    assert judge([*lines(), Line("ship", "done", 2, "ship")]) == ["ship was done 2 times"]


def test_a_step_that_is_never_done_is_a_fault() -> None:
    assert judge([line for line in lines() if (line.step, line.what) != ("ship", "done")]) == ["ship was lost"]


def test_a_step_that_changes_its_identity_is_a_fault() -> None:
    changed = [*lines()[:-1], Line("ship", "done", 2, "other")]

    assert judge(changed) == ["ship changed its step_id"]


@pytest.mark.slow
def test_the_demo_tells_its_story_and_ends_well(project: Project) -> None:
    done = project.outlive("demo")

    assert done.code == 0, done.out + done.err
    chapters = ["1. A process starts it", "kill -9", "2. The same command again", "3. It waits for a person", "4. What"]
    places = [done.out.index(chapter) for chapter in chapters]
    assert places == sorted(places)
    assert "nothing lost, nothing done twice" in done.out
    assert "\x1b" not in done.out


@pytest.mark.slow
def test_the_birthday_card_is_sent_though_its_server_was_killed(project: Project) -> None:
    done = project.outlive("demo", "birthday")

    assert done.code == 0, done.out + done.err
    chapters = [
        "1. A server",
        "kill -9",
        "2. The same command again",
        "3. Thirty days later",
        "4. What the ledger says",
    ]
    places = [done.out.index(chapter) for chapter in chapters]
    assert places == sorted(places)
    for line in ("Ben: Many happy returns!", "Cleo: So sorry to miss it", "Dora: I bring the cake"):
        assert f"| {line}" in done.out
    assert "nothing lost, nothing done twice" in done.out
