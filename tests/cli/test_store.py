"""``outlive doctor`` and ``outlive prune``."""

from __future__ import annotations

from pathlib import Path

import pytest

from outlive.cli.app import start
from outlive.errors import StoreUnavailable
from outlive.stores.sqlite import SQLiteStore

from .conftest import Project

pytestmark = pytest.mark.slow


@pytest.fixture
def two(project: Project) -> Project:
    """A store with a run that has ended and one that waits."""
    project.outlive("run", "shop:double", "1", "--run-id", "ended")
    project.interrupted("open")
    return project


def test_a_good_store_is_well(two: Project) -> None:
    done = two.outlive("doctor", "--json")

    assert done.code == 0
    assert done.json["wrong"] == []
    assert done.json["runs"] == {"completed": 1, "running": 1}


def test_a_file_that_is_no_store_is_wrong(project: Project) -> None:
    (project.folder / "bad.db").write_bytes(b"this is not a database" * 500)
    done = project.outlive("doctor", "--url", "sqlite:///bad.db")

    assert done.code == 1
    assert "wrong" in done.out and "Traceback" not in done.err
    assert done.out.splitlines()[-1] == "1 thing is wrong; keep a copy of the store and report it"


def test_a_store_that_can_not_be_opened_is_no_finding(project: Project) -> None:
    (project.folder / "folder.db").mkdir()
    done = project.outlive("doctor", "--url", "sqlite:///folder.db")

    assert (done.code, done.out) == (1, "")
    assert "can't be opened" in done.err and "report" not in done.err


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_full_disk_is_no_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: tuple[str, ...]
) -> None:
    async def full(_store: SQLiteStore) -> list[str]:
        raise StoreUnavailable("the disk is full; make room, nothing was lost")

    (tmp_path / "a.db").touch()
    monkeypatch.setattr(SQLiteStore, "audit", full)
    code = start(["doctor", "--url", f"sqlite:///{tmp_path / 'a.db'}", *options])

    assert (code, *capsys.readouterr()) == (1, "", "outlive: the disk is full; make room, nothing was lost\n")


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (0, "all is well"),
        (1, "1 thing is wrong; keep a copy of the store and report it"),
        (2, "2 things are wrong; keep a copy of the store and report them"),
    ],
)
def test_the_verdict_counts_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int, told: str
) -> None:
    async def faults(_store: SQLiteStore) -> list[str]:
        return ["a fault"] * number

    (tmp_path / "a.db").touch()
    monkeypatch.setattr(SQLiteStore, "audit", faults)
    code = start(["doctor", "--url", f"sqlite:///{tmp_path / 'a.db'}"])

    assert (code, capsys.readouterr().out.splitlines()[-1]) == (min(number, 1), told)


def test_prune_deletes_what_ended_and_nothing_else(two: Project) -> None:
    said = [
        two.outlive("prune", "--older-than", "30d").out,
        two.outlive("prune", "--older-than", "0s", "--dry-run").out,
        two.outlive("prune", "--older-than", "0s").out,
    ]

    assert said == ["0 runs deleted\n", "1 runs would be deleted\n", "1 runs deleted\n"]
    assert [run["id"] for run in two.outlive("runs", "--json").json] == ["open"]


def test_prune_tells_programs_how_many(two: Project) -> None:
    rehearsed = two.outlive("prune", "--older-than", "0s", "--dry-run", "--json").json
    done = two.outlive("prune", "--older-than", "0s", "--json").json

    assert (rehearsed, done) == ({"runs": 1, "dry_run": True}, {"runs": 1, "dry_run": False})


def test_an_age_that_can_not_be_read_ends_with_2(two: Project) -> None:
    assert two.outlive("prune", "--older-than", "a month").code == 2
