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

log: Final = logging.getLogger("outlive.worker")


def supervise(count: int) -> int:
    """Run this very command ``count`` times, each with ``--processes 1``, until SIGTERM or SIGINT; then wait for them."""
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
    return max(map(abs, codes))


def _start() -> subprocess.Popen[bytes]:
    """In a group of its own: Ctrl-C reaches it through this process, once."""
    arguments = [*sys.orig_argv[1:], "--processes", "1"]
    return subprocess.Popen(
        [sys.executable, *arguments], env=os.environ.copy(), start_new_session=True
    )  # this very program
