"""``outlive resume``."""

from __future__ import annotations

import pytest

from .conftest import Project

pytestmark = pytest.mark.slow


def test_a_payload_is_delivered_once_under_one_key(project: Project) -> None:
    token = project.interrupted("one")
    sent = [project.outlive("resume", token, value, "--key", "k").code for value in ('"first"', '"second"')]
    done = project.outlive("run", "shop:ask", '[{"id": "A1"}]', "--run-id", "one")
    again, other = (project.outlive("resume", token, "3", "--key", key).code for key in ("k", "other"))
    after = project.outlive("show", "one", "--json").json

    assert sent == [0, 0] and (again, other) == (0, 1)
    assert done.json == ["answer", "first"]
    assert [entry["payloads"] for entry in after["timeline"] if entry["kind"] == "hook"] == [["first"]]


def test_a_token_that_nobody_holds_ends_with_1(project: Project) -> None:
    project.interrupted("one")
    done = project.outlive("resume", "no-such-token", "{}")

    assert done.code == 1
    assert "no open hook has this token" in done.err


def test_a_payload_that_is_not_json_ends_with_2(project: Project) -> None:
    done = project.outlive("resume", "token", "hello")

    assert done.code == 2
    assert "not JSON" in done.err


def test_what_can_not_be_stored_ends_with_2_and_does_nothing(project: Project) -> None:
    token = project.interrupted("one")
    long = project.outlive("resume", token, "1", "--key", "k" * 256)
    reason = project.outlive("terminate", "one", "--reason", "r" * 4_001)

    assert (long.code, reason.code) == (2, 2)
    assert "at most 255 characters" in long.err and "at most 4,000 characters" in reason.err
    assert project.outlive("show", "one", "--json").json["run"]["status"] == "running"
