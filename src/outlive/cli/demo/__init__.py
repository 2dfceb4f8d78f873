"""``outlive demo``: programs that outlive their process, told as it happens."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Literal

from outlive.cli.demo.birthday import Birthday
from outlive.cli.demo.order import Order


def demo(story: Literal["order", "birthday"] = "order", /, *, keep: bool = False) -> int:
    """Watch a workflow survive the death of its process, in a few seconds.

    Exit code 0 only if the ledger that the steps write proves that none was lost and none done twice.

    Parameters
    ----------
    story
        order: a pipeline with a person's approval, no server. birthday: a card whose guests answer by opening a link, over real HTTP.
    keep
        Leave the store behind, to look around in it.
    """
    folder = Path(tempfile.mkdtemp(prefix="outlive-demo-"))
    try:
        told = Order(folder, keep=keep) if story == "order" else Birthday(folder, keep=keep)
        return asyncio.run(told.play())
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
