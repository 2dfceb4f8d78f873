"""Locks on side files, which the OS frees when their process dies.

POSIX record locks belong to a process: closing *any* descriptor of a file drops all of the process's locks on it, and a
process never conflicts with itself. So each side file is opened once per process, here, by the real path of its database;
threads exclude each other by a mutex around the lock, and workers of this process are looked up in memory, never probed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

from outlive.model.ids import WorkerId


class _SideLock:
    """One side file: a mutex between the threads of this process around a lock between processes."""

    def __init__(self, path: str) -> None:
        self._mutex = threading.Lock()
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def acquire(self, *, wait: bool) -> bool:
        if not self._mutex.acquire(blocking=wait):
            return False
        try:
            fcntl.lockf(self.fd, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            self._mutex.release()
            return False
        except BaseException:
            self._mutex.release()
            raise
        return True

    def release(self) -> None:
        fcntl.lockf(self.fd, fcntl.LOCK_UN)
        self._mutex.release()


class ProcessLocks:
    """What this process holds of the side files of one database."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.users = 0
        self._folder = Path(f"{path}-workers")
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._writer = _SideLock(f"{path}-lock")
        self._checkpoint = _SideLock(f"{path}-checkpoint")
        self._workers: dict[WorkerId, int] = {}

    @contextlib.contextmanager
    def writing(self) -> Generator[None, None, None]:
        """Wait in the queue of writers: SQLite's own busy handler polls, and starves some (R33)."""
        self._writer.acquire(wait=True)
        try:
            yield
        finally:
            self._writer.release()

    def try_writing(self) -> bool:
        return self._writer.acquire(wait=False)

    def stop_writing(self) -> None:
        self._writer.release()

    @contextlib.contextmanager
    def checkpointing(self) -> Generator[bool, None, None]:
        """True inside if nobody else checkpoints now."""
        held = self._checkpoint.acquire(wait=False)
        try:
            yield held
        finally:
            if held:
                self._checkpoint.release()

    # --- liveness; all of these under the writer lock, so that no file goes between its making and its locking ---

    def hold(self, worker: WorkerId) -> bool:
        """Show others that ``worker`` lives, until this process ends; False if somebody holds that id."""
        if worker in self._workers:
            return False
        fd = os.open(self._file(worker), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            return False
        self._workers[worker] = fd
        return True

    def let_go(self, worker: WorkerId) -> None:
        fd = self._workers.pop(worker, None)
        if fd is not None:
            os.close(fd)

    def alive(self, worker: WorkerId) -> bool:
        """Whether its process holds its file. True when that can't be seen: then its lease decides."""
        if worker in self._workers:
            return True
        try:
            fd = os.open(self._file(worker), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        else:
            return False
        finally:
            os.close(fd)

    def bury(self, worker: WorkerId) -> None:
        """Remove the file of a worker whose row is gone."""
        if worker not in self._workers:
            self._file(worker).unlink(missing_ok=True)

    def files(self) -> list[WorkerId]:
        """Workers that have a file, dead ones among them."""
        return [WorkerId(unquote(file.name)) for file in self._folder.iterdir()]

    def _file(self, worker: WorkerId) -> Path:
        return self._folder / quote(worker, safe="")

    def close(self) -> None:
        for fd in (self._writer.fd, self._checkpoint.fd, *self._workers.values()):
            os.close(fd)
        self._workers.clear()


_open: Final[dict[str, ProcessLocks]] = {}
_opening = threading.Lock()


def attach(path: str) -> ProcessLocks:
    """The locks of the database at the real path ``path``; give them back with :func:`detach`."""
    with _opening:
        locks = _open.get(path)
        if locks is None:
            locks = _open[path] = ProcessLocks(path)
        locks.users += 1
        return locks


def detach(locks: ProcessLocks) -> None:
    with _opening:
        locks.users -= 1
        if locks.users == 0 and _open.get(locks.path) is locks:
            del _open[locks.path]
            locks.close()


def _forget() -> None:
    """A child of fork has none of its parent's locks, and its copies of the descriptors keep none alive."""
    global _opening  # the parent may have forked while another thread held it
    _opening = threading.Lock()
    for locks in _open.values():
        locks.close()
    _open.clear()


os.register_at_fork(after_in_child=_forget)
