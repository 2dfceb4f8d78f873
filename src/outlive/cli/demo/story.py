"""How a demo is told: what its child processes do, and what their ledger says."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import ClassVar, Final

from outlive.cli import exits
from outlive.cli.demo.ledger import VARIABLE, Line, faults, read
from outlive.engine import Engine
from outlive.model import events as ev
from outlive.model.ids import RunId

HASH_SEED: Final = "1001"
PATIENCE: Final = 30.0
LOOK: Final = 0.02


class Story:
    """A demo in ``folder``. Its children write a ledger; what is new there is told while it waits."""

    run: ClassVar[RunId]
    steps: ClassVar[tuple[str, ...]]

    def __init__(self, folder: Path, *, keep: bool) -> None:
        self.folder: Path = folder
        self.url: str = f"sqlite:///{folder / 'demo.db'}"
        self._ledger = folder / "ledger.jsonl"
        self._keep = keep
        self._told = 0
        self.paint: Callable[[str, str], str] = _painter()

    # --- the child ---

    async def spawn(self, *arguments: str, quiet: bool = False, **variables: str) -> asyncio.subprocess.Process:
        """An ``outlive`` command in a process of its own, as anybody would give it; ``quiet``: its log goes into a file."""
        with (self.folder / "log.txt").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "outlive", *arguments, "--url", self.url),
                # with a hash seed of its own the process need not start itself again under the store's
                env={**os.environ, "PYTHONHASHSEED": HASH_SEED, VARIABLE: str(self._ledger), **variables},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log if quiet else asyncio.subprocess.PIPE,
                stderr=log if quiet else None,
            )

    async def kill(self, child: asyncio.subprocess.Process) -> None:
        """As the power company would."""
        child.kill()
        await child.wait()
        self.tell()
        self.say(self.paint(f"    kill -9 {child.pid}", "bold red"))

    async def until(self, child: asyncio.subprocess.Process, reached: Callable[[], bool]) -> None:
        """Tell what the ledger says until ``reached``."""
        async with asyncio.timeout(PATIENCE):
            while True:
                self.tell()
                if reached():
                    return
                must_live(child)
                await asyncio.sleep(LOOK)

    async def recorded(self, engine: Engine, child: asyncio.subprocess.Process, *, at_least: set[str]) -> set[str]:
        """The steps whose results are durable, once those are."""
        async with asyncio.timeout(PATIENCE):
            while True:
                self.tell()
                log = await engine.store.log(self.run, 1)
                ended = {self.called(r.event) for r in log if isinstance(r.event, ev.StepCompleted)}
                if ended >= at_least:
                    return ended
                must_live(child)
                await asyncio.sleep(LOOK)

    def called(self, event: ev.StepCompleted) -> str:
        """The name by which the ledger knows a step."""
        return event.name.rpartition(":")[2]

    # --- what is told ---

    def began(self) -> set[str]:
        return {line.step for line in read(self._ledger)}

    def done(self) -> set[str]:
        return {line.step for line in read(self._ledger) if line.what == "done"}

    def tell(self) -> None:
        """What is new in the ledger."""
        lines = read(self._ledger)
        for line in lines[self._told :]:
            self.say(f"    [{line.pid}] {_phrase(line, self.paint)}")
        self._told = len(lines)

    def head(self, number: str, text: str) -> None:
        self.say(self.paint(f"\n{number}. {text}", "bold cyan"))

    def say(self, text: str) -> None:
        print(text, flush=True)

    def names(self, steps: Collection[str]) -> str:
        return ", ".join(name for name in self.steps if name in steps)

    def verdict(self, first: int, second: int, recorded: set[str]) -> int:
        """What the ledger says, and the exit code."""
        self.head("4", "What the ledger says")
        lines = read(self._ledger)
        for name in self.steps:
            began = [str(line.pid) for line in lines if line.step == name and line.what == "began"]
            done = [str(line.pid) for line in lines if line.step == name and line.what == "done"]
            self.say(f"    {name:<14} began in {' and '.join(began) or '-':<18} done in {' and '.join(done) or '-'}")
        wrong = faults(lines, expected=self.steps, first=first, second=second, recorded=recorded)
        for fault in wrong:
            self.say(self.paint(f"    {fault}", "bold red"))
        if not wrong:
            number = len(self.steps)
            praise = f"\n{number} steps, {number} effects, 2 processes: nothing lost, nothing done twice."
            self.say(self.paint(praise, "bold green"))
        if self._keep:
            self.say(f"Look around: outlive show {self.run} --url {self.url}")
        return exits.FAILED if wrong else exits.DONE


def _phrase(line: Line, paint: Callable[[str, str], str]) -> str:
    return f"{line.step:<14} began" if line.what == "began" else f"{line.step:<14} {paint('done', 'green')}"


def _painter() -> Callable[[str, str], str]:
    """Colours for a terminal that shows them; nothing in a pipe."""
    from rich.console import Console
    from rich.style import Style

    system = Console().color_system
    if system is None:
        return lambda text, _: text
    return lambda text, style: Style.parse(style).render(text)


def must_live(child: asyncio.subprocess.Process) -> None:
    """
    Raises:
        Complaint: The child has ended.
    """
    if child.returncode is not None:
        raise exits.Complaint(f"the process of the demo ended too early, with code {child.returncode}", exits.FAILED)


async def end(child: asyncio.subprocess.Process) -> None:
    """Leave no process behind."""
    if child.returncode is None:
        child.kill()
        await child.wait()
