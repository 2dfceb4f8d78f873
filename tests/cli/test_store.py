"""``outlive doctor`` and ``outlive prune``."""

from __future__ import annotations

import pytest

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


def test_prune_deletes_what_ended_and_nothing_else(two: Project) -> None:
    said = [
        two.outlive("prune", "--older-than", "30d").out,
        two.outlive("prune", "--older-than", "0s", "--dry-run").out,
        two.outlive("prune", "--older-than", "0s").out,
    ]

    assert said == ["0 runs deleted\n", "1 runs would be deleted\n", "1 runs deleted\n"]
    assert [run["id"] for run in two.outlive("runs", "--json").json] == ["open"]


def test_an_age_that_can_not_be_read_ends_with_2(two: Project) -> None:
    assert two.outlive("prune", "--older-than", "a month").code == 2
