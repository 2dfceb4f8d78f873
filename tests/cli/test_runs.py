"""``outlive runs``, ``show``, and asking for the end of a run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .conftest import Project, shop_in

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A store with runs that completed, failed, and wait; nobody changes it."""
    with shop_in(tmp_path_factory.mktemp("three")) as project:
        project.outlive("run", "shop:double", "1", "--run-id", "good")
        project.outlive("run", "shop:fail", "--run-id", "bad")
        project.interrupted("open")
        yield project


def test_runs_are_listed_newest_first_one_a_line(three: Project) -> None:
    rows = [line.split("\t") for line in three.outlive("runs").out.splitlines()]

    assert [row[:3] for row in rows] == [
        ["open", "running", "shop:ask"],
        ["bad", "failed", "shop:fail"],
        ["good", "completed", "shop:double"],
    ]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (("--status", "failed"), ["bad"]),
        (("--workflow", "shop:ask"), ["open"]),
        (("--tag", "none-has-it"), []),
        (("--limit", "1"), ["open"]),
        (("--before", "bad"), ["good"]),
    ],
)
def test_runs_are_filtered_and_paged(three: Project, filters: tuple[str, ...], found: list[str]) -> None:
    assert [run["id"] for run in three.outlive("runs", "--json", *filters).json] == found


@pytest.mark.parametrize("command", ["show", "cancel", "tail", "runs --before", "runs --tag", "runs --workflow"])
def test_what_nothing_can_be_called_is_wrong_usage(three: Project, command: str) -> None:
    done = three.outlive(*command.split(), "\udcff")  # a byte that is no UTF-8

    assert done.code == 2
    assert "can't hold NUL characters and surrogates" in done.err


def test_looking_makes_no_store(project: Project) -> None:
    done = project.outlive("runs")

    assert done.code == 2
    assert "there is no store here" in done.err
    assert not (project.folder / ".outlive").exists()


def test_a_store_that_is_named_and_not_there_is_not_made(project: Project) -> None:
    done = project.outlive("runs", "--url", "sqlite:///other.db")

    assert done.code == 2
    assert not (project.folder / "other.db").exists()


def test_the_store_comes_from_the_environment(three: Project) -> None:
    url = f"sqlite:///{three.folder}/.outlive/outlive.db"

    assert three.outlive("runs", "--limit", "1", OUTLIVE_URL=url).out.startswith("open\t")


def test_show_tells_steps_and_what_a_run_waits_for(three: Project) -> None:
    shown = three.outlive("show", "open", "--json").json

    assert shown["run"]["status"] == "running"
    story = [(entry["kind"], entry["status"]) for entry in shown["timeline"]]
    assert story[:3] == [("run", "created"), ("run", "started"), ("step", "completed")]
    assert ("hook", "open") in story
    assert [event["seq"] for event in shown["events"]] == list(range(1, len(shown["events"]) + 1))


def test_show_in_a_pipe_is_a_line_for_each_entry(three: Project) -> None:
    lines = [line.split("\t") for line in three.outlive("show", "bad").out.splitlines()]

    assert lines[0][:3] == ["run", "bad", "failed"]
    assert [line[1:4] for line in lines[1:]] == [
        ["run", "-", "created"],
        ["run", "-", "started"],
        ["step", "shop:decline", "failed"],
        ["run", "-", "failed"],
    ]


def test_r39_tokens_are_told_only_when_asked_for(project: Project) -> None:
    token = project.interrupted("one")

    assert token not in project.outlive("show", "one", "--json").out
    assert token not in project.outlive("show", "one").out
    assert token in project.outlive("show", "one", "--tokens").out


@pytest.mark.parametrize("command", ["show", "cancel", "wake", "terminate", "replay"])
def test_a_run_that_is_not_there_ends_with_1(three: Project, command: str) -> None:
    done = three.outlive(command, "nobody")

    assert (done.code, done.err) == (1, "outlive: there is no run nobody in this store; see: outlive runs\n")


def test_a_run_that_has_ended_can_not_be_cancelled(three: Project) -> None:
    done = three.outlive("cancel", "good")

    assert done.code == 1
    assert "completed" in done.err


def test_wake_ends_a_sleep_early(project: Project) -> None:
    project.interrupted("open")
    project.outlive("wake", "open")

    assert project.outlive("run", "shop:ask", '[{"id": "A1"}]', "--run-id", "open").json == ["deadline", None]
