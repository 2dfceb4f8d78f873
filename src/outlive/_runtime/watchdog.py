"""Finds bodies that block the worker's loop (R28): names the run, prints the stack, and in the end stops it."""

from __future__ import annotations

import ctypes
import logging
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from time import monotonic
from types import TracebackType
from typing import Final

from outlive._core.signals import Blocked
from outlive.model.ids import RunId

log: Final = logging.getLogger("outlive.watchdog")


class Watchdog:
    """Watches activations of one worker from a thread."""

    def __init__(self, warn_after: float, limit: float, *, on_hopeless: Callable[[], None]) -> None:
        self._warn_after = warn_after
        self._limit = limit
        self._on_hopeless = on_hopeless
        self._watched: tuple[RunId, int, float] | None = None
        self._stopped: tuple[RunId, int, float] | None = None
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._watching: Final = _Watching(self._leave)

    def start(self) -> None:
        self._stop.clear()
        threading.Thread(target=self._watch, name="outlive-watchdog", daemon=True).start()

    def stop(self) -> None:
        self._stop.set()

    def watching(self, run: RunId) -> AbstractContextManager[None]:
        """An activation of ``run`` is on this thread.

        Raises:
            Blocked: It took longer than the limit.
        """
        self._watched = (run, threading.get_ident(), monotonic())
        return self._watching

    def _leave(self) -> None:
        left = None
        while True:
            try:
                with self._lock:  # from here on nothing is raised into this thread
                    left, self._watched = self._watched or left, None
                for _ in range(8):
                    pass  # what was raised before arrives here at the latest
                break
            except Blocked:
                # it can't be taken back instead: CPython 3.11 then believes for ever that one is pending, and spins under a profiler
                continue
        if left is not None and self._stopped is left:
            raise Blocked  # the body may have swallowed it

    def _watch(self) -> None:
        warned: tuple[RunId, int, float] | None = None
        while not self._stop.wait(min(self._warn_after / 2, 0.5)):
            watched = self._watched
            if watched is None:
                continue
            run, thread, since = watched
            blocked = monotonic() - since
            if blocked > self._warn_after and warned is not watched:
                warned = watched
                frame = sys._current_frames().get(thread)
                stack = "".join(traceback.format_stack(frame)) if frame is not None else ""
                log.warning("run %s has blocked its worker for %.1f s; its body is at:\n%s", run, blocked, stack)
            if blocked > self._limit and self._stopped is not watched:
                with self._lock:
                    if self._watched is watched:
                        self._stopped = watched
                        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(Blocked))
            elif blocked > 2 * self._limit and self._stopped is watched:
                log.critical("run %s can't be stopped; this worker lets its lease go", run)
                self._on_hopeless()
                return


class _Watching:
    """The context manager of :meth:`Watchdog.watching`: one for all, since activations are never nested (R27)."""

    def __init__(self, leave: Callable[[], None]) -> None:
        self._leave = leave

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()
