"""``outlive worker``: a process that works until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Iterable
from typing import Final

from outlive._core.registry import registry
from outlive.cli.exits import Complaint
from outlive.cli.modules import load_modules, load_transactions
from outlive.cli.opening import under_hash_seed, working_url
from outlive.cli.options import BaseUrl, Transactions, Url
from outlive.cli.supervising import guardian, orphaned, supervise
from outlive.engine import Engine
from outlive.stores.urls import shown

HOPELESS: Final = 70
"""Exit code of a worker that one of its runs has blocked for good."""

log: Final = logging.getLogger("outlive.worker")


def worker(
    *modules: str,
    url: Url = None,
    queues: str = "",
    processes: int = 1,
    transactions: Transactions = None,
    base_url: BaseUrl = None,
    strict: bool = False,
    verbose: bool = False,
) -> int:
    """Work on the runs of the workflows in the modules named, and on steps in queues, until SIGTERM or Ctrl-C.

    Running steps get a few seconds to end then; a second signal ends the process at once. Nothing is lost either way.

    Parameters
    ----------
    modules
        Modules (shop.orders) or files (shop/orders.py) with workflows and steps.
    queues
        Which queues to take steps from, and how many at once where that is limited: gpu:1,default. Unset: all of them.
        Runs are in "default" unless they say otherwise.
    processes
        How many processes work; one that dies is replaced.
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
    begin = load_transactions(transactions)
    if not registry.workflows.names() and not registry.steps.names():
        raise Complaint(
            f"there is no workflow and no step in {', '.join(modules)}; decorate a function with @workflow or @step"
        )
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    )
    served = served_queues(queues)
    if processes < 1:
        raise Complaint("at least one process has to work")
    watched_by = guardian()
    if processes > 1 and watched_by is None:
        return supervise(processes)
    engine = Engine(
        store,
        guard="strict" if strict else None,
        on_hopeless=give_up,
        queues=served,
        transactions=begin,
        base_url=base_url,
    )
    asyncio.run(_work(engine, store, served or (), watched_by=watched_by))
    return 0


def served_queues(text: str) -> dict[str, int | None] | None:
    """``gpu:1,default`` as names and limits; None: all.

    Raises:
        Complaint: It is something else.
    """
    served: dict[str, int | None] = {}
    for part in text.split(",") if text else ():
        name, colon, most = part.strip().partition(":")
        if name in served:
            raise Complaint(f"the queue {name!r} is named twice")
        if not name or (colon and not (most.isascii() and most.isdecimal() and int(most))):
            raise Complaint(
                f"{part!r} names no queue; give names between commas, with a limit where there is one: gpu:1,default"
            )
        served[name] = int(most) if colon else None
    return served or None


async def _work(working: Engine, url: str, queues: Iterable[str], *, watched_by: int | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, stop, number)
    async with working as engine:
        names = [*registry.workflows.names(), *(f"queue {name}" for name in queues)]
        log.info("worker %s works in %s on %s", engine.worker.id if engine.worker else "", shown(url), ", ".join(names))
        watch = None if watched_by is None else asyncio.create_task(_told_by_death(watched_by, stop))
        await stop.wait()
        if watch is not None:
            watch.cancel()
        hot = len(engine.worker.hot) if engine.worker else 0
        log.info("stopping; %d runs in memory are handed over (again to stop at once)", hot)
    log.info("stopped")


async def _told_by_death(guardian: int, stop: asyncio.Event) -> None:
    await orphaned(guardian)
    stop.set()


def give_up() -> None:
    """A body blocks the loop and can't be stopped; others take over (R28)."""
    os._exit(HOPELESS)


def _stop(stop: asyncio.Event, number: signal.Signals) -> None:
    if stop.is_set():
        os._exit(128 + number)
    stop.set()
