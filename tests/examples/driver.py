"""Runs an example as a program of its own, kills it at an effect, and reads what it did and what its store says."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from outlive import Engine, RunEvent, RunInfo
from outlive.model.ids import RunId, step_id
from tests.servers.schemas import end_leases

EXAMPLES: Final = Path(__file__).parents[2] / "examples"
DEADLINE: Final = 45.0
"""Seconds after which a program that does not get on is taken for hung. Nothing is asserted about time below that."""
GLANCE: Final = 0.002
"""Seconds between two looks at the ledger of a running program."""


@dataclass(frozen=True, kw_only=True)
class Effect:
    """One line of the ledger."""

    what: str
    detail: str
    pid: int
    step_id: str
    attempt: int


@dataclass(frozen=True, kw_only=True)
class Log:
    """The log of one link of a run, at one moment."""

    run: RunId
    link: int
    events: tuple[RunEvent, ...]

    def steps(self, *kinds: str) -> set[str]:
        """Ids of the steps with an event of these kinds."""
        return {
            step_id(self.run, self.link, event.ref, event.data["name"]) for event in self.events if event.kind in kinds
        }

    def attempts(self) -> set[tuple[str, int]]:
        """Attempts whose end is recorded, whatever it was."""
        return {
            (step_id(self.run, self.link, event.ref, event.data["name"]), event.data.get("attempt", 1))
            for event in self.events
            if event.kind in ("step_completed", "step_failed", "step_retrying")
        }


class Example:
    """One example, with a store and a ledger that no other test knows."""

    def __init__(self, script: str, folder: Path, url: str, *arguments: str) -> None:
        self.command = [sys.executable, str(EXAMPLES / script), *arguments]
        self.url = url
        self.ledger = folder / "effects.jsonl"
        self.output = folder / "output.txt"
        self.errors = folder / "errors.txt"
        self.folder = folder

    # --- running it --------------------------------------------------------------------------------------------------

    def run(self, meanwhile: Callable[[], None] = lambda: None) -> list[str]:
        """Run it to its end, while ``meanwhile`` plays somebody outside; what it printed beside its effects."""
        with self._start() as program:
            try:
                meanwhile()
            except BaseException:
                program.kill()
                raise
            self._wait(program, lambda: False)
        errors = self.errors.read_text()
        assert program.returncode == 0, f"it ended with {program.returncode}:\n{self.said()}"
        assert "Traceback" not in errors, errors
        return [line for line in self.output.read_text().splitlines() if not line.startswith("  ")]

    def run_and_kill(self, at: int) -> None:
        """Run it until its ``at``-th effect is in the ledger, and kill it there."""
        with self._start() as program:
            self._wait(program, lambda: self._count() >= at)
            os.kill(program.pid, signal.SIGKILL)
        assert program.returncode == -signal.SIGKILL, f"it ended before it was killed:\n{self.said()}"
        if self.url.startswith("postgresql"):
            asyncio.run(end_leases(self.url))  # that a process is dead shows there only when its lease has run out

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "OUTLIVE_URL": self.url,
            "OUTLIVE_EFFECTS": str(self.ledger),
            "OUTLIVE_GUARD": "strict",
        }
        with self.output.open("wb") as output, self.errors.open("wb") as errors:
            return subprocess.Popen(
                self.command, cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=errors
            )

    def _wait(self, program: subprocess.Popen[bytes], reached: Callable[[], bool]) -> None:
        """Until ``reached``, or its end."""
        give_up = time.monotonic() + DEADLINE
        while not reached() and program.poll() is None:
            if time.monotonic() > give_up:
                program.kill()
                program.wait()
                raise AssertionError(f"it hangs; so far:\n{self.said()}\n{self.story()}")
            time.sleep(GLANCE)

    # --- what it did -------------------------------------------------------------------------------------------------

    def _count(self) -> int:
        return self.ledger.read_bytes().count(b"\n") if self.ledger.exists() else 0

    def effects(self) -> list[Effect]:
        """What is in the ledger, in order."""
        lines = self.ledger.read_text().splitlines() if self.ledger.exists() else []
        return [Effect(**json.loads(line)) for line in lines]

    def tally(self) -> Counter[tuple[str, str]]:
        """How often each effect happened, by what and detail."""
        return Counter((effect.what, effect.detail) for effect in self.effects())

    def logs(self) -> dict[tuple[str, int], Log]:
        """Every link of every run in the store."""
        return asyncio.run(self._logs())

    async def _logs(self) -> dict[tuple[str, int], Log]:
        async with Engine(self.url, worker=False) as engine:
            return {
                (info.id, link): Log(run=info.id, link=link, events=tuple(await engine.get_run(info.id).events(link)))
                for info in await engine.list_runs(limit=1000)
                for link in range(1, info.link + 1)
            }

    def runs(self) -> dict[str, RunInfo]:
        """Every run in the store, by id."""
        return asyncio.run(self._runs())

    async def _runs(self) -> dict[str, RunInfo]:
        async with Engine(self.url, worker=False) as engine:
            return {info.id: info for info in await engine.list_runs(limit=1000)}

    def said(self) -> str:
        """All its output, for a failing test."""
        return self.output.read_text() + self.errors.read_text()

    def story(self) -> str:
        """How the logs end, for a failing test."""
        return "\n".join(
            f"{run} {link}: {event.seq} {event.kind} {event.ref} {event.data}"[:300]
            for (run, link), log in self.logs().items()
            for event in log.events[-30:]
        )


def kill_and_resume(example: Example, *, at: int) -> list[str]:
    """Kill ``example`` at its ``at``-th effect, run it again, and check it; what it printed at last."""
    example.run_and_kill(at)
    return check_resumed(example, example.run)


def check_resumed(example: Example, resume: Callable[[], list[str]]) -> list[str]:
    """``resume`` a killed ``example`` and check that nothing was lost and nothing recorded was done again."""
    before = example.logs()
    first = example.effects()
    printed = resume()
    after = example.logs()
    effects = example.effects()
    second = effects[len(first) :]

    for key, log in before.items():
        assert after[key].events[: len(log.events)] == log.events, f"the log of {key} changed what it had recorded"

    recorded = {step for log in before.values() for step in log.steps("step_completed", "step_failed")}
    again = {effect.step_id for effect in second} & recorded
    assert not again, f"recorded, and done again: {again}\n{example.story()}"
    ended = {attempt for log in before.values() for attempt in log.attempts()}
    again_tried = {(effect.step_id, effect.attempt) for effect in second} & ended
    assert not again_tried, f"recorded, and tried again: {again_tried}\n{example.story()}"

    attempts = Counter((effect.step_id, effect.attempt, effect.pid) for effect in effects)
    twice = [attempt for attempt, times in attempts.items() if times > 1]
    assert not twice, f"an attempt was made twice by one process: {twice}\n{example.story()}"

    done = {step for log in after.values() for step in log.steps("step_completed", "step_failed")}
    stopped = {step for log in after.values() for step in log.steps("step_cancelled")}
    happened = {effect.step_id for effect in effects}
    assert done <= happened, f"recorded as done, and never happened: {done - happened}\n{example.story()}"
    unknown = happened - done - stopped
    assert not unknown, f"happened, and nowhere in the log: {unknown}\n{example.story()}"
    return printed
