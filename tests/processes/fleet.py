"""Worker processes on one store, a ledger outside of everybody, and what may be done to both."""

from __future__ import annotations

import asyncio
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Fleet:
    """Worker processes on the store of ``url``.

    ``lease``: of those that are not told otherwise. How long the runs of a dead one wait, where only time shows that it is dead.
    """

    def __init__(self, url: str, folder: Path, *, lease: float = 10.0) -> None:
        self.url = url
        self.ledger = folder / "ledger"
        self.lease = lease
        self.workers: list[subprocess.Popen[str]] = []
        self._up: set[int] = set()

    def add(self, lease: float | None = None) -> subprocess.Popen[str]:
        worker = self._start(self.lease if lease is None else lease)
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
        self.workers.append(worker)
        return worker

    def _start(self, lease: float) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.processes.program", self.url, str(lease)],
            cwd=ROOT,
            env=os.environ | {"LEDGER": str(self.ledger)},
            stdout=subprocess.PIPE,
            text=True,
        )

    def spawn(self) -> None:
        """Another worker, which nobody waits for."""
        self.workers.append(self._start(self.lease))

    def working(self) -> list[subprocess.Popen[str]]:
        """Workers that have come up."""
        with selectors.DefaultSelector() as selector:  # select() itself takes no file beyond the thousandth
            for worker in self.workers:
                assert worker.stdout is not None
                selector.register(worker.stdout, selectors.EVENT_READ, worker.pid)
            self._up |= {key.data for key, _ in selector.select(0)}
        return [worker for worker in self.workers if worker.pid in self._up]

    def kill(self, worker: subprocess.Popen[str]) -> None:
        self.workers.remove(worker)
        worker.kill()
        worker.communicate()

    def lines(self, what: str) -> list[tuple[str, int]]:
        """(step id, process) of what was noted."""
        text = self.ledger.read_text() if self.ledger.exists() else ""
        return [(line.split()[1], int(line.split()[2])) for line in text.splitlines() if line.startswith(what)]

    def times(self, what: str) -> list[tuple[str, float]]:
        """(step id, moment) of what was noted."""
        return [
            (line.split()[1], float(line.split()[3]))
            for line in self.ledger.read_text().splitlines()
            if line.startswith(what)
        ]

    async def noted(self, what: str, count: int) -> None:
        """Wait for the ledger to hold ``count`` lines."""
        while len(self.lines(what)) < count:
            await asyncio.sleep(0.005)


@contextmanager
def fleet_on(url: str, folder: Path, *, lease: float = 10.0) -> Iterator[Fleet]:
    fleet = Fleet(url, folder, lease=lease)
    try:
        yield fleet
    finally:
        for worker in list(fleet.workers):
            worker.send_signal(signal.SIGCONT)
            fleet.kill(worker)
