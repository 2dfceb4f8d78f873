"""``outlive db``: the schema of a store on PostgreSQL, and what other commands say of such a store."""

from __future__ import annotations

import pytest

from .conftest import Project

pytestmark = pytest.mark.slow


def test_a_schema_is_made_and_told_of(project: Project, postgres_url: str) -> None:
    before = project.outlive("db", "status", "--url", postgres_url, "--json")
    assert (before.code, before.json["version"], before.json["fits"]) == (1, 0, False)
    assert "outlive db migrate" in project.outlive("db", "status", "--url", postgres_url).out

    made = project.outlive("db", "migrate", "--url", postgres_url, "--json")
    assert (made.code, made.json["fits"], made.json["version"]) == (0, True, made.json["known"])

    again = project.outlive("db", "migrate", "--url", postgres_url)
    assert again.code == 0
    assert f"version {made.json['version']}" in again.out
    assert project.outlive("db", "status", "--url", postgres_url).code == 0


def test_a_file_has_none(project: Project) -> None:
    done = project.outlive("db", "status", "--url", "sqlite:///x.db")
    assert done.code == 2
    assert "PostgreSQL" in done.err and "Traceback" not in done.err


def test_without_a_server_it_ends_with_1(project: Project) -> None:
    done = project.outlive("db", "status", "--url", "postgresql://me:secret@127.0.0.1:1/none")
    assert done.code == 1
    assert "secret" not in done.out + done.err and "Traceback" not in done.err


def test_commands_work_on_it_as_on_a_file(project: Project, postgres_url: str) -> None:
    done = project.outlive("run", "shop:double", "21", "--run-id", "r1", "--url", postgres_url)
    assert (done.code, done.out) == (0, "42.0\n"), done.err
    [run] = project.outlive("runs", "--json", "--url", postgres_url).json
    assert (run["id"], run["status"]) == ("r1", "completed")
    assert "shop:double" in project.outlive("show", "r1", "--url", postgres_url).out
    assert project.outlive("doctor", "--url", postgres_url).code == 0
    assert project.outlive("prune", "--older-than", "0s", "--url", postgres_url).out == "1 runs deleted\n"
