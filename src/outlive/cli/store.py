"""``outlive doctor`` and ``outlive prune``: keeping a store well."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Final

from typing_extensions import override

from outlive.cli import exits
from outlive.cli.opening import client, existing_url
from outlive.cli.options import AsJson, Url
from outlive.cli.output import print_json
from outlive.cli.version import versions
from outlive.engine import Engine
from outlive.errors import StoreCorrupt
from outlive.model.durations import seconds
from outlive.model.records import RunStatus
from outlive.stores.urls import shown

_BATCH: Final = 500
_SETTINGS: Final = ("OUTLIVE_URL", "OUTLIVE_GUARD", "PYTHONHASHSEED")


def doctor(*, url: Url = None, json: AsJson = False) -> int:
    """Look for what is wrong with a store: its file, its invariants, its SQLite.

    Exit code 1 if something is, or if it can't be looked into now.
    """
    store = asyncio.run(existing_url(url))
    warnings = _Warnings()
    logger = logging.getLogger("outlive")
    logger.addHandler(warnings)
    propagate, logger.propagate = logger.propagate, False
    try:
        wrong, counts = asyncio.run(_examine(store))
    finally:
        logger.removeHandler(warnings)
        logger.propagate = propagate
    settings = {name: shown(value) for name in _SETTINGS if (value := os.environ.get(name)) is not None}
    if json:
        print_json(
            {
                "url": shown(store),
                "versions": versions(),
                "settings": settings,
                "runs": counts,
                "wrong": wrong,
                "warnings": warnings.lines,
            }
        )
    else:
        print(f"store     {shown(store)}")
        print("versions  " + ", ".join(f"{name} {number}" for name, number in versions().items()))
        print("settings  " + (", ".join(f"{name}={value}" for name, value in settings.items()) or "defaults"))
        print("runs      " + (", ".join(f"{number} {status}" for status, number in counts.items()) or "none"))
        for warning in warnings.lines:
            print(f"warning   {warning}")
        for fault in wrong:
            print(f"wrong     {fault}")
        print(_verdict(len(wrong)))
    return exits.FAILED if wrong else exits.DONE


def _verdict(wrong: int) -> str:
    match wrong:
        case 0:
            return "all is well"
        case 1:
            return "1 thing is wrong; keep a copy of the store and report it"
        case _:
            return f"{wrong} things are wrong; keep a copy of the store and report them"


class _Warnings(logging.Handler):
    """What the store warns of while it is opened."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    @override
    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


async def _examine(url: str) -> tuple[list[str], dict[str, int]]:
    try:
        async with Engine(url, worker=False) as engine:
            counts = {status.value: await _count(engine, status) for status in RunStatus}
            return await engine.store.audit(), {status: number for status, number in counts.items() if number}
    except StoreCorrupt as error:
        return [str(error)], {}


async def _count(engine: Engine, status: RunStatus, *, ended_before: float | None = None) -> int:
    """Runs with this status, and with ``ended_before`` of those the ones that ended before then."""
    number, last = 0, None
    while page := await engine.list_runs(status=status, before=last, limit=_BATCH):
        number += sum(
            ended_before is None or (info.ended_at is not None and info.ended_at.timestamp() < ended_before)
            for info in page
        )
        last = page[-1].id
    return number


def prune(*, older_than: str, dry_run: bool = False, url: Url = None, json: AsJson = False) -> None:
    """Delete runs that ended long ago, with their logs, in small batches that keep nobody waiting.

    Parameters
    ----------
    older_than
        How long ago: 30d, 12h, P1W.
    dry_run
        Only say how many it would be.
    """
    try:
        age = seconds(older_than)
    except ValueError as error:
        raise exits.Complaint(str(error)) from error
    number = asyncio.run(_prune(url, age, dry_run=dry_run, told=not json))
    if json:
        print_json({"runs": number, "dry_run": dry_run})
    else:
        print(f"{number} runs {'would be deleted' if dry_run else 'deleted'}")


async def _prune(url: str | None, age: float, *, dry_run: bool, told: bool) -> int:
    """How many runs were deleted, or with ``dry_run`` would be."""
    async with client(url) as engine:
        ended_before = engine.store.clock.now() - age  # the server's, where there is one
        if dry_run:
            return sum([await _count(engine, s, ended_before=ended_before) for s in RunStatus if s.ended])
        total = 0
        while deleted := await engine.store.prune(ended_before=ended_before, limit=_BATCH):
            total += deleted
            if told and deleted == _BATCH:
                print(f"{total} runs deleted so far", flush=True)
        return total
