"""Steps in processes of their own: values pass by the codec, and a process that dies costs one attempt."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from msgspec import Raw

from outlive import Engine, RunFailed, step
from outlive._runtime.processes import LENGTH, Call

from . import crunching

pytestmark = pytest.mark.slow


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    async with Engine("memory://", guard="cheap") as opened:
        yield opened


async def test_it_runs_elsewhere_and_the_process_serves_the_next_one_too(engine: Engine) -> None:
    run = await engine.start(crunching.crunches)
    pid, part, step_id, other_pid, other, other_id = await run.result()
    assert pid == other_pid != os.getpid()
    assert (part, other) == (crunching.Part(8, "a"), crunching.Part(15, "b"))
    assert step_id != other_id and run.id in str(step_id)


async def test_it_may_be_async(engine: Engine) -> None:
    assert await (await engine.start(crunching.asynchronous)).result() == 2


async def test_r12_an_exception_arrives_as_its_own_type(engine: Engine) -> None:
    assert await (await engine.start(crunching.catches)).result() == "TooMuch far"


async def test_a_fatal_error_is_not_tried_again(engine: Engine, tmp_path: Path) -> None:
    run = await engine.start(crunching.fatal, str(tmp_path / "calls"))
    with pytest.raises(RunFailed, match="no"):
        await run.result()
    assert (tmp_path / "calls").read_text() == "x"


async def test_a_process_that_is_killed_while_it_waits_costs_no_attempt(engine: Engine) -> None:
    assert await (await engine.start(crunching.asynchronous)).result() == 2
    assert engine.worker is not None
    pool = engine.worker.executor._processes
    assert pool is not None
    [waiting] = pool._free
    waiting._process.kill()
    while waiting.lives:
        await asyncio.sleep(0.01)
    run = await engine.start(crunching.asynchronous)
    assert await run.result() == 2
    assert "step_retrying" not in [event.kind for event in await run.events()]


async def test_a_process_that_is_killed_costs_one_attempt(engine: Engine, tmp_path: Path) -> None:
    run = await engine.start(crunching.survives, str(tmp_path / "calls"))
    assert await run.result() == 2
    assert (tmp_path / "calls").read_text() == "xx"
    [retrying] = [event for event in await run.events() if event.kind == "step_retrying"]
    assert "SIGKILL" in str(retrying.data["error"])


async def test_b4_the_lease_is_looked_at_again_once_its_process_has_come_up(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, thawed = 0, False

    def stands() -> bool:
        nonlocal looks
        looks += 1
        return looks == 1 or thawed

    assert engine.worker is not None
    monkeypatch.setattr(engine.worker.lease, "stands", stands)
    run = await engine.start(crunching.fatal, str(tmp_path / "calls"))
    while looks < 5:
        await asyncio.sleep(0.01)
    assert not (tmp_path / "calls").exists()
    thawed = True
    with pytest.raises(RunFailed):
        await run.result()
    assert (tmp_path / "calls").exists()


async def test_r12_a_step_that_exits_is_a_failed_attempt(engine: Engine) -> None:
    run = await engine.start(crunching.left)
    with pytest.raises(RunFailed, match="3"):
        await run.result()


async def test_r11_one_that_runs_too_long_is_interrupted_and_its_process_ends(engine: Engine, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    run = await engine.start(crunching.hurried, str(notes))
    assert await run.result() == "timed out"
    assert notes.read_text() == "tidied up"


async def test_one_that_forks_answers_once_and_later_steps_get_their_own_results(engine: Engine) -> None:
    assert await (await engine.start(crunching.forks)).result() == ["the parent's", 1, 2, 3, 4]


async def test_its_death_is_noticed_though_it_has_left_a_child(engine: Engine, tmp_path: Path) -> None:
    run = await engine.start(crunching.dies_and_leaves_a_child, str(tmp_path / "child"))
    try:
        with pytest.raises(RunFailed, match="SIGKILL"):
            await run.result()
        os.kill(int((tmp_path / "child").read_text()), 0)  # which lives on
    finally:
        os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)


def test_it_ends_though_its_worker_died_before_it_read_the_answer() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        command = [sys.executable, "-m", "outlive._runtime.process_main", str(theirs.fileno())]
        process = subprocess.Popen(command, pass_fds=(theirs.fileno(),), cwd=Path(__file__).parents[2])
    assert ours.recv(1), "it has come up, and what it says next is an answer"
    ours.sendall(question("tests.processes.crunching:crunch_async", b'{"number":1}'))
    assert ours.recv(1, socket.MSG_PEEK), "it has answered"
    ours.close()
    assert process.wait(timeout=30) == 0


def question(step: str, arguments: bytes) -> bytes:
    call = Call(
        module=step.partition(":")[0], file="", path=sys.path, step=step, input=Raw(arguments),
        step_id="s", run_id="r", attempt=1, started_at=1.0,
    )  # fmt: skip
    body = msgspec.json.encode(call)
    return LENGTH.pack(len(body)) + body


SCRIPT = """
from outlive import run, step, workflow

@step(executor="process")
def square(number: int) -> int:
    return number * number

@workflow
async def demo() -> int:
    return await square(3)

"""


@pytest.mark.parametrize("name", ["script.py", "my-script.v2.py"])
@pytest.mark.parametrize("command", [[], ["-m", "outlive", "run"]])
def test_r37_a_script_has_steps_in_processes_too(tmp_path: Path, name: str, command: list[str]) -> None:
    (tmp_path / name).write_text(SCRIPT + 'if __name__ == "__main__":\n    print(run(demo))\n')
    done = script(tmp_path, *command, f"{name}:demo" if command else name)
    assert (done.returncode, done.stdout) == (0, "9\n"), done.stderr


def test_a_script_that_runs_at_import_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT + "print(run(demo))\n")
    done = script(tmp_path, "script.py")
    assert done.returncode == 1
    assert "if __name__ ==" in done.stderr


def script(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    environment = os.environ | {"OUTLIVE_URL": f"sqlite:///{folder / 'outlive.db'}"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


async def test_many_from_a_queue_are_spread_over_a_few_processes(engine: Engine) -> None:
    found = await (await engine.start(crunching.squares, 20)).result()
    assert [value for _, value in found] == [number * number for number in range(20)]
    assert 1 <= len({pid for pid, _ in found}) <= (os.cpu_count() or 1)


async def test_no_process_is_left_when_the_engine_closes(engine: Engine) -> None:
    pid = (await (await engine.start(crunching.crunches)).result())[0]
    await engine.close()
    with pytest.raises(ProcessLookupError):
        os.kill(int(str(pid)), 0)


@pytest.mark.parametrize("options", [{"executor": "thread"}, {"executor": "process", "transaction": True}])
def test_what_can_not_be_is_refused_at_once(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="executor"):
        step(**options)  # type: ignore[call-overload]
