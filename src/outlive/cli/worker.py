"""``outlive worker``: a process that works until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from typing import Final

from outlive._core.registry import registry
from outlive.cli.exits import Complaint
from outlive.cli.modules import load_modules
from outlive.cli.opening import under_hash_seed, working_url
from outlive.cli.options import Url
from outlive.engine import Engine

HOPELESS: Final = 70
"""Exit code of a worker that one of its runs has blocked for good."""

log: Final = logging.getLogger("outlive.worker")


def worker(*modules: str, url: Url = None, strict: bool = False, verbose: bool = False) -> int:
    """Work on all runs of the workflows in the modules named, until SIGTERM or Ctrl-C.

    Running steps get a few seconds to end then; a second signal ends the process at once. Nothing is lost either way.

    Parameters
    ----------
    modules
        Modules (shop.orders) or files (shop/orders.py) with workflows and steps.
    strict
        Refuse everything in bodies that would differ on replay, at four times the cost of pure Python in them.
    verbose
        Log more.
    """
    if not modules:
        raise Complaint("which workflows? Name the modules that hold them: outlive worker shop.orders")
    store = working_url(url)
    under_hash_seed(store)
    load_modules(modules)
    if not registry.workflows.names():
        raise Complaint(f"there is no workflow in {', '.join(modules)}; decorate an async function with @workflow")
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    )
    asyncio.run(_work(store, strict=strict))
    return 0


async def _work(url: str, *, strict: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, stop, number)
    async with Engine(url, guard="strict" if strict else None, on_hopeless=give_up) as engine:
        names = registry.workflows.names()
        log.info("worker %s works in %s on %s", engine.worker.id if engine.worker else "", url, ", ".join(names))
        await stop.wait()
        hot = len(engine.worker.hot) if engine.worker else 0
        log.info("stopping; %d runs in memory are handed over (again to stop at once)", hot)
    log.info("stopped")


def give_up() -> None:
    """A body blocks the loop and can't be stopped; others take over (R28)."""
    os._exit(HOPELESS)


def _stop(stop: asyncio.Event, number: signal.Signals) -> None:
    if stop.is_set():
        os._exit(128 + number)
    stop.set()
