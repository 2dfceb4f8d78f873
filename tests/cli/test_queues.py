"""``outlive queues``, and workers that serve some of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from outlive.cli.exits import Complaint
from outlive.cli.worker import served_queues

from .conftest import FOREVER, Project, read_until

pytestmark = pytest.mark.slow

FARM = """
import os
import sys

from outlive import step, workflow


@step(queue="gpu")
async def render(frame: int) -> int:
    print("rendered by", os.getpid(), file=sys.stderr, flush=True)
    return frame * 2


@workflow
async def film(frame: int) -> int:
    return await render(frame)
"""


def test_a_step_waits_visibly_until_somebody_serves_its_queue(project: Project) -> None:
    (project.folder / "farm.py").write_text(FARM)
    flows = project.begin("worker", "farm", "--queues", "default")
    read_until(flows, "works in", stream="stderr")
    starter = project.begin("run", "farm:film", "21", "--run-id", "f1")  # it serves all queues itself
    assert starter.communicate(timeout=FOREVER)[0] == "42\n"
    assert project.outlive("queues").out.split("\t")[:5] == ["gpu", "0", "0", "-", "0"]

    start(project, "f2")
    while "queued" not in project.outlive("show", "f2").out:
        pass
    assert "no living worker serves its queue" in project.outlive("show", "f2").out
    [queue] = project.outlive("queues", "--json").json
    assert (queue["name"], queue["waiting"], queue["running"], queue["served"]) == ("gpu", 1, 0, 0)

    gpu = project.begin("worker", "farm", "--queues", "gpu:1")
    read_until(gpu, "rendered by", stream="stderr")
    while "completed" not in project.outlive("runs", "--json").json[0]["status"]:
        pass
    for worker in (flows, gpu):
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(FOREVER) == 0


def test_a_run_that_nobody_takes_says_why(project: Project) -> None:
    (project.folder / "farm.py").write_text(FARM)
    start(project, "f1")
    assert "waits for a worker: there is none" in project.outlive("show", "f1").out
    other = project.begin("worker", "shop")
    read_until(other, "works in", stream="stderr")
    assert "no living one knows its workflow" in project.outlive("show", "f1").out
    other.send_signal(signal.SIGTERM)
    assert other.wait(FOREVER) == 0
    farm = project.begin("worker", "farm", "--queues", "gpu")
    read_until(farm, "works in", stream="stderr")
    shown = project.outlive("show", "f1", "--json").json
    assert "no living one serves queue default" in shown["waits_for"]


def start(project: Project, run_id: str) -> None:
    """By a program that is no worker."""
    (project.folder / "start.py").write_text(
        "import asyncio, farm, sys\nfrom outlive import Engine\n"
        "async def main():\n    async with Engine('sqlite:///.outlive/outlive.db', worker=False) as engine:\n"
        "        await engine.start(farm.film.options(run_id=sys.argv[1]), 4)\n"
        "asyncio.run(main())\n"
    )
    (project.folder / ".outlive").mkdir(exist_ok=True)
    command = [sys.executable, "start.py", run_id]
    subprocess.run(command, cwd=project.folder, check=True, env=project._environment({}))


def test_a_limit_is_set_and_lifted(project: Project) -> None:
    project.interrupted("one")  # there is a store
    assert project.outlive("queues", "limit", "gpu", "3").code == 0
    assert project.outlive("queues", "--json").json[0]["limit"] == 3
    assert project.outlive("queues", "limit", "gpu", "none").code == 0
    assert project.outlive("queues", "--json").json[0]["limit"] is None
    for bad in (("gpu", "-1"), ("gpu", "many"), ("../gpu", "1"), ("gpu", "9" * 20), ("", "1")):
        done = project.outlive("queues", "limit", *bad)
        assert done.code == 2 and done.err and "Traceback" not in done.err


def test_several_processes_work_and_one_that_dies_is_replaced(project: Project) -> None:
    (project.folder / "farm.py").write_text(FARM)
    boss = project.begin("worker", "farm", "--processes", "2")
    for _ in range(2):
        read_until(boss, "works in", stream="stderr")
    first = _children(boss.pid)
    assert len(first) == 2
    assert project.outlive("run", "farm:film", "21", "--run-id", "f1").out == "42\n"
    os.kill(first[0], signal.SIGKILL)
    assert str(first[0]) in read_until(boss, "another one takes its place", stream="stderr")
    read_until(boss, "works in", stream="stderr")
    second = _children(boss.pid)
    assert len(second) == 2 and first[0] not in second and first[1] in second
    boss.send_signal(signal.SIGTERM)
    assert boss.wait(FOREVER) == 0
    assert not any(os.path.exists(f"/proc/{pid}") for pid in second)


def test_told_to_stop_while_they_are_started_all_of_them_stop(project: Project) -> None:
    (project.folder / "farm.py").write_text(FARM)
    boss = project.begin("worker", "farm", "--processes", "8")
    read_until(boss, "8 processes work", stream="stderr")
    boss.send_signal(signal.SIGTERM)
    assert boss.wait(FOREVER) == 0


def test_when_the_first_process_is_killed_the_others_stop_too(project: Project) -> None:
    (project.folder / "farm.py").write_text(FARM)
    boss = project.begin("worker", "farm", "--processes", "2")
    for _ in range(2):
        read_until(boss, "works in", stream="stderr")
    boss.kill()
    for _ in range(2):
        read_until(boss, "stopped", stream="stderr")


def _children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]


@pytest.mark.parametrize(
    ("text", "served"),
    [
        ("", None),
        ("gpu", {"gpu": None}),
        ("gpu:2,default", {"gpu": 2, "default": None}),
        (" a , b:1 ", {"a": None, "b": 1}),
    ],
)
def test_queues_are_named_between_commas(text: str, served: dict[str, int | None] | None) -> None:
    assert served_queues(text) == served


@pytest.mark.parametrize("text", ["gpu:", "gpu:0", "gpu:x", ":3", "gpu:-1", ",", "a,,b", "a,"])
def test_what_names_no_queue_is_refused(text: str) -> None:
    with pytest.raises(Complaint, match="names no queue"):
        served_queues(text)


def test_a_queue_is_named_once() -> None:
    with pytest.raises(Complaint, match="twice"):
        served_queues("a:1,b,a:2")


def test_at_least_one_process_works(project: Project) -> None:
    done = project.outlive("worker", "shop", "--processes", "0")
    assert done.code == 2 and "at least one" in done.err
