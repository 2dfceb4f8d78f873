"""``outlive demo``: an order that outlives its process."""

from __future__ import annotations

import asyncio
import json
from typing import ClassVar, Final

import msgspec

from outlive.cli import exits
from outlive.cli.demo.story import LOOK, PATIENCE, Story, end, must_live
from outlive.engine import Engine
from outlive.errors import HookNotFound
from outlive.model import events as ev
from outlive.model.ids import RunId

INPUT: Final = {"order": {"id": "A-1001", "item": "tea pot", "cents": 2_400}}
TOKEN: Final = "approve-A-1001"  # noqa: S105  # a demo's


class Order(Story):
    """Killed while two of three parallel steps run."""

    run: ClassVar[RunId] = RunId("demo-order")
    steps: ClassVar[tuple[str, ...]] = ("validate", "charge", "reserve_stock", "print_label", "book_courier", "ship")

    async def play(self) -> int:
        self.say("An order goes through a pipeline: validate, charge, three steps at once, a person's approval, ship.")
        self.say("Each step writes a line into a ledger when it begins and when it is done.")
        self.head("1", "A process starts it")
        first = await self._begin()
        try:
            async with Engine(self.url, worker=False) as engine:
                return await self._scenes(first, engine)
        finally:
            await end(first)

    async def _scenes(self, first: asyncio.subprocess.Process, engine: Engine) -> int:
        parallel = {"reserve_stock", "print_label", "book_courier"}
        await self.until(first, lambda: self.began() >= parallel)
        recorded = await self.recorded(engine, first, at_least={"validate", "charge", "reserve_stock"})
        await self.kill(first)
        cut_off = self.began() - recorded
        self.say(f"    In the log: {self.names(recorded)}. Cut off in the middle: {self.names(cut_off)}.")

        self.head("2", "The same command again, in a new process")
        second = await self._begin()
        try:
            return await self._second_life(second, engine, first.pid, recorded, cut_off)
        finally:
            await end(second)

    async def _second_life(
        self,
        second: asyncio.subprocess.Process,
        engine: Engine,
        first_pid: int,
        recorded: set[str],
        cut_off: set[str],
    ) -> int:
        await self.until(second, lambda: self.done() >= recorded | cut_off)
        self.say(f"    {self.names(recorded)} did not run again: their results came from the log.")

        self.head("3", "It waits for a person, or for tomorrow: race(approval=hook, deadline=sleep('1 day'))")
        await self._hook_open(second, engine)
        await asyncio.sleep(0.7)
        self.say(
            "    You approve, from this process:  " + self.paint(f'outlive resume {TOKEN} \'{{"by": "you"}}\'', "bold")
        )
        await engine.deliver(TOKEN, None, ev.Payload.of("application/json", b'{"by": "you"}'), None, "demo")
        output, _ = await asyncio.wait_for(second.communicate(), PATIENCE)
        self.tell()
        if second.returncode != 0:
            raise exits.Complaint(f"the second process ended with code {second.returncode}", exits.FAILED)
        result = msgspec.json.decode(output, type=dict[str, str])
        self.say(f"    The workflow returned: {result['status']} ({result['receipt']}, {result['pickup']})")
        return self.verdict(first_pid, second.pid, recorded)

    async def _begin(self) -> asyncio.subprocess.Process:
        target = "outlive.cli.demo.order_program:fulfil"
        self.say(f"    outlive run {target} '{{...}}' --run-id {self.run}")
        return await self.spawn("run", target, json.dumps(INPUT), "--run-id", self.run)

    async def _hook_open(self, child: asyncio.subprocess.Process, engine: Engine) -> None:
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    await engine.get_hook(TOKEN)
                except HookNotFound:
                    must_live(child)
                    await asyncio.sleep(LOOK)
                else:
                    return
