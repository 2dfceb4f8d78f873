"""``outlive demo``: an order that outlives its process, told as it happens."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from outlive.cli import exits
from outlive.cli.ledger import EXPECTED, Line, faults, read
from outlive.engine import Engine
from outlive.errors import HookNotFound
from outlive.model import events as ev
from outlive.model.ids import RunId

T = TypeVar("T")

RUN: Final = RunId("demo-order")
ORDER: Final = {"order": {"id": "A-1001", "item": "tea pot", "cents": 2_400}}
TOKEN: Final = "approve-A-1001"  # noqa: S105  # a demo's
HASH_SEED: Final = "1001"
PATIENCE: Final = 30.0
LOOK: Final = 0.02


def demo(*, keep: bool = False) -> int:
    """Watch an order survive the death of its process: no server, a few seconds.

    Exit code 0 only if the ledger that the steps write proves that none was lost and none done twice.

    Parameters
    ----------
    keep
        Leave the store behind, to look around in it.
    """
    folder = Path(tempfile.mkdtemp(prefix="outlive-demo-"))
    try:
        return asyncio.run(_Demo(folder, keep=keep).play())
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


class _Demo:
    def __init__(self, folder: Path, *, keep: bool) -> None:
        self._url = f"sqlite:///{folder / 'demo.db'}"
        self._ledger = folder / "ledger.jsonl"
        self._keep = keep
        self._told = 0
        self._paint = _painter()

    async def play(self) -> int:
        self._say("An order goes through a pipeline: validate, charge, three steps at once, a person's approval, ship.")
        self._say("Each step writes a line into a ledger when it begins and when it is done.")
        self._head("1", "A process starts it")
        first = await self._begin()
        try:
            async with Engine(self._url, worker=False) as engine:
                return await self._scenes(first, engine)
        finally:
            await _end(first)

    async def _scenes(self, first: asyncio.subprocess.Process, engine: Engine) -> int:
        parallel = {"reserve_stock", "print_label", "book_courier"}
        await self._until(first, lambda: self._began() >= parallel)
        recorded = await self._recorded(engine, first, at_least={"validate", "charge", "reserve_stock"})
        first.kill()
        await first.wait()
        self._tell()
        self._say(self._paint(f"    kill -9 {first.pid}", "bold red"))
        cut_off = self._began() - recorded
        self._say(f"    In the log: {_names(recorded)}. Cut off in the middle: {_names(cut_off)}.")

        self._head("2", "The same command again, in a new process")
        second = await self._begin()
        try:
            return await self._second_life(second, engine, first.pid, recorded, cut_off)
        finally:
            await _end(second)

    async def _second_life(
        self,
        second: asyncio.subprocess.Process,
        engine: Engine,
        first_pid: int,
        recorded: set[str],
        cut_off: set[str],
    ) -> int:
        await self._until(second, lambda: self._done() >= recorded | cut_off)
        self._say(f"    {_names(recorded)} did not run again: their results came from the log.")

        self._head("3", "It waits for a person, or for tomorrow: race(approval=hook, deadline=sleep('1 day'))")
        await self._hook_open(second, engine)
        await asyncio.sleep(0.7)
        self._say(
            "    You approve, from this process:  " + self._paint(f'outlive resume {TOKEN} \'{{"by": "you"}}\'', "bold")
        )
        await engine.deliver(TOKEN, None, ev.Payload.of("application/json", b'{"by": "you"}'), None, "demo")
        output, _ = await asyncio.wait_for(second.communicate(), PATIENCE)
        self._tell()
        if second.returncode != 0:
            raise exits.Complaint(f"the second process ended with code {second.returncode}", exits.FAILED)
        result = msgspec.json.decode(output, type=dict[str, str])
        self._say(f"    The workflow returned: {result['status']} ({result['receipt']}, {result['pickup']})")
        return self._verdict(first_pid, second.pid, recorded)

    def _verdict(self, first: int, second: int, recorded: set[str]) -> int:
        self._head("4", "What the ledger says")
        lines = read(self._ledger)
        for name in EXPECTED:
            began = [str(line.pid) for line in lines if line.step == name and line.what == "began"]
            done = [str(line.pid) for line in lines if line.step == name and line.what == "done"]
            self._say(f"    {name:<14} began in {' and '.join(began) or '-':<18} done in {' and '.join(done) or '-'}")
        wrong = faults(lines, first=first, second=second, recorded=recorded)
        for fault in wrong:
            self._say(self._paint(f"    {fault}", "bold red"))
        if not wrong:
            self._say(
                self._paint(
                    f"\n{len(EXPECTED)} steps, {len(EXPECTED)} effects, 2 processes: nothing lost, nothing done twice.",
                    "bold green",
                )
            )
        if self._keep:
            self._say(f"Look around: outlive show {RUN} --url {self._url}")
        return exits.FAILED if wrong else exits.DONE

    # --- the child ---

    async def _begin(self) -> asyncio.subprocess.Process:
        """Run the pipeline in a process of its own, as anybody would."""
        target = "outlive.cli.demo_pipeline:fulfil"
        self._say(f"    outlive run {target} '{{...}}' --run-id {RUN}")
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "outlive", "run", target, json.dumps(ORDER), "--run-id", RUN, "--url", self._url),
            # with a hash seed of its own the process need not start itself again under the store's
            env={**os.environ, "PYTHONHASHSEED": HASH_SEED, "OUTLIVE_DEMO_LEDGER": str(self._ledger)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )

    async def _until(self, child: asyncio.subprocess.Process, reached: Callable[[], bool]) -> None:
        """Tell what the ledger says until ``reached``."""
        async with asyncio.timeout(PATIENCE):
            while True:
                self._tell()
                if reached():
                    return
                _must_live(child)
                await asyncio.sleep(LOOK)

    async def _recorded(self, engine: Engine, child: asyncio.subprocess.Process, *, at_least: set[str]) -> set[str]:
        """The steps whose results are durable, once those are."""
        async with asyncio.timeout(PATIENCE):
            while True:
                self._tell()
                log = await engine.store.log(RUN, 1)
                ended = {r.event.name.rpartition(":")[2] for r in log if isinstance(r.event, ev.StepCompleted)}
                if ended >= at_least:
                    return ended
                _must_live(child)
                await asyncio.sleep(LOOK)

    async def _hook_open(self, child: asyncio.subprocess.Process, engine: Engine) -> None:
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    await engine.get_hook(TOKEN)
                except HookNotFound:
                    _must_live(child)
                    await asyncio.sleep(LOOK)
                else:
                    return

    # --- the story ---

    def _began(self) -> set[str]:
        return {line.step for line in read(self._ledger)}

    def _done(self) -> set[str]:
        return {line.step for line in read(self._ledger) if line.what == "done"}

    def _tell(self) -> None:
        """What is new in the ledger."""
        lines = read(self._ledger)
        for line in lines[self._told :]:
            self._say(f"    [{line.pid}] {_phrase(line, self._paint)}")
        self._told = len(lines)

    def _head(self, number: str, text: str) -> None:
        self._say(self._paint(f"\n{number}. {text}", "bold cyan"))

    def _say(self, text: str) -> None:
        print(text, flush=True)


def _names(steps: set[str]) -> str:
    return ", ".join(name for name in EXPECTED if name in steps)


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


def _must_live(child: asyncio.subprocess.Process) -> None:
    if child.returncode is not None:
        raise exits.Complaint(f"the process of the demo ended too early, with code {child.returncode}", exits.FAILED)


async def _end(child: asyncio.subprocess.Process) -> None:
    """Leave no process behind."""
    if child.returncode is None:
        child.kill()
        await child.wait()
