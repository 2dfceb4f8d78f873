"""Several processes of one command: those that die are replaced, and all are told to stop when this one is."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from typing import Final

PAUSE: Final = 0.1
REST: Final = 1.0
"""Seconds before one that died is replaced: what can't start would be tried again and again."""

LOOK: Final = 0.5
"""Seconds between two looks whether the guardian lives."""
_MARK: Final = "OUTLIVE_SUPERVISED_BY"

log: Final = logging.getLogger("outlive.worker")


def guardian() -> int | None:
    """The process that looks after this one, if one does. Told once: what a step begins is not looked after."""
    told = os.environ.pop(_MARK, None)
    return None if told is None else int(told)


def ward() -> dict[str, str]:
    """The environment of a process that this one looks after."""
    return {**os.environ, _MARK: str(os.getpid())}


async def orphaned(guardian: int) -> None:
    """Return when ``guardian`` has died: nobody can tell this process to stop any more."""
    while os.getppid() == guardian:
        await asyncio.sleep(LOOK)


def supervise(count: int) -> int:
    """Run this very command ``count`` times until SIGTERM or SIGINT; then wait for them."""
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _frame: asked.append(number))
    log.info("%d processes work", count)
    children = [_start() for _ in range(count)]
    while not asked:
        time.sleep(PAUSE)
        for place, child in enumerate(children):
            if child.poll() is not None and not asked:
                log.error("process %d ended with %d; another one takes its place", child.pid, child.returncode)
                time.sleep(REST)
                children[place] = _start()
    told = 0
    while any(child.poll() is None for child in children):
        for signalled in asked[told:]:  # the second ends them at once, as it would here
            for child in children:
                child.send_signal(signalled)
        told = len(asked)
        time.sleep(PAUSE)
    return max(0 if child.returncode == -signal.SIGTERM else abs(child.returncode) for child in children)


def _start() -> subprocess.Popen[bytes]:
    """This very program, in a group of its own: Ctrl-C reaches it through this process, once."""
    return subprocess.Popen([sys.executable, *sys.orig_argv[1:]], env=ward(), start_new_session=True)
