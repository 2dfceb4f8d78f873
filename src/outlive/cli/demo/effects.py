"""What the steps of the demos do to the world: they take their time, and write into a ledger that nobody ever rewrites."""

from __future__ import annotations

import asyncio
import json
import os

from outlive._core.context import get_step_metadata
from outlive.cli.demo.ledger import VARIABLE


async def work(name: str, about: str, *, seconds: float) -> None:
    """Stands for an effect: two lines in the ledger, one when it begins and one when it is done."""
    write(name, about, "began")
    await asyncio.sleep(seconds)
    write(name, about, "done")


def write(name: str, about: str, what: str) -> None:
    """One line of the ledger."""
    step_id = get_step_metadata().step_id
    line = json.dumps({"step": name, "about": about, "what": what, "pid": os.getpid(), "step_id": step_id})
    ledger = os.open(os.environ[VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(ledger, line.encode() + b"\n")
    finally:
        os.close(ledger)
