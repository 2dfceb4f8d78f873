"""Worker processes on one store, a ledger outside of everybody, and what may be done to both."""

from __future__ import annotations

import asyncio
import os
import selectors
import signal
import subprocess
import sys
import time
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
        self._frozen: dict[int, float] = {}
        """Since when."""
        self._freezes: list[tuple[int, float, float]] = []

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

    def freeze(self, worker: subprocess.Popen[str]) -> None:
        self._frozen[worker.pid] = time.time()
        worker.send_signal(signal.SIGSTOP)

    def thaw(self, worker: subprocess.Popen[str]) -> None:
        worker.send_signal(signal.SIGCONT)
        self._freezes.append((worker.pid, self._frozen.pop(worker.pid), time.time()))

    def thaw_all(self) -> None:
        for worker in self.workers:
            if worker.pid in self._frozen:
                self.thaw(worker)

    def kill(self, worker: subprocess.Popen[str]) -> None:
        self.workers.remove(worker)
        worker.kill()
        worker.communicate()

    def lines(self, what: str) -> list[tuple[str, int]]:
        """(step id, process) of what was noted."""
        text = self.ledger.read_text() if self.ledger.exists() else ""
        return [(line.split()[1], int(line.split()[2])) for line in text.splitlines() if line.startswith(what)]

    def began(self) -> list[tuple[str, float]]:
        """(step id, moment) of what has begun: when it did or, if its process was frozen on its way there, when it last saw its lease."""
        found: list[tuple[str, float]] = []
        for line in self.ledger.read_text().splitlines():
            what, step, process, at, looked = line.split()
            if what == "begin":
                frozen = self._was_frozen(int(process), float(looked), float(at))
                found.append((step, float(looked if frozen else at)))
        return found

    def _was_frozen(self, process: int, since: float, until: float) -> bool:
        return any(pid == process and start < until and end > since for pid, start, end in self._freezes)

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
        fleet.thaw_all()
        for worker in list(fleet.workers):
            fleet.kill(worker)
