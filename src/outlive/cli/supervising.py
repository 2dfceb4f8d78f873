"""Several processes of one command: those that die are replaced, and all are told to stop when this one is."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from types import FrameType
from typing import Final

REST: Final = 1.0
"""Seconds before one that died is replaced: what can't start would be tried again and again."""

_MARK: Final = "OUTLIVE_SUPERVISED_BY"

log: Final = logging.getLogger("outlive.worker")


def supervised() -> bool:
    """Whether this process is one of several."""
    return _MARK in os.environ


def orphaned() -> bool:
    """Whether the one that looks after this process has died."""
    return os.environ.get(_MARK) != str(os.getppid())


def supervise(count: int) -> int:
    """Run this very command ``count`` times until SIGTERM or SIGINT; then wait for them."""
    stop = threading.Event()
    children: list[subprocess.Popen[bytes]] = []

    def told(number: int, _frame: FrameType | None) -> None:
        for child in children:
            if child.poll() is None:
                child.send_signal(number)  # the second ends it at once, as it would here
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, told)
    log.info("%d processes work", count)
    children += [_start() for _ in range(count)]
    while not stop.wait(0.1):
        for place, child in enumerate(children):
            if child.poll() is not None and not stop.is_set():
                log.error("process %d ended with %d; another one takes its place", child.pid, child.returncode)
                time.sleep(REST)
                if not stop.is_set():
                    children[place] = _start()
    codes = [child.wait() for child in children]
    return max(0 if code == -signal.SIGTERM else abs(code) for code in codes)  # told to stop before it could listen


def _start() -> subprocess.Popen[bytes]:
    """In a group of its own: Ctrl-C reaches it through this process, once."""
    environment = {**os.environ, _MARK: str(os.getpid())}
    return subprocess.Popen(
        [sys.executable, *sys.orig_argv[1:]], env=environment, start_new_session=True
    )  # this very program
