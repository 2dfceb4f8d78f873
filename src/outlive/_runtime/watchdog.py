"""Finds bodies that block the worker's loop (R28): names the run, prints the stack, and in the end stops it."""

from __future__ import annotations

import ctypes
import logging
import sys
import threading
import traceback
from collections.abc import Callable
from time import monotonic
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

    def start(self) -> None:
        self._stop.clear()
        threading.Thread(target=self._watch, name="outlive-watchdog", daemon=True).start()

    def stop(self) -> None:
        self._stop.set()

    def begin(self, run: RunId) -> None:
        """An activation of ``run`` begins on this thread. :meth:`end` follows, whatever happens."""
        self._watched = (run, threading.get_ident(), monotonic())

    def end(self) -> None:
        """The activation is over.

        Raises:
            Blocked: It took longer than the limit.
        """
        left = None
        try:
            left, self._watched = self._watched, None
            if self._stopped is not left:
                return  # the watcher says whom it will stop, then looks again whether that is still watched
        except Blocked:
            pass
        while True:
            try:
                with self._lock:  # from here on nothing is raised into this thread
                    self._watched = None
                for _ in range(8):
                    pass  # what was raised before arrives here at the latest
                break
            except Blocked:
                # it can't be taken back instead: CPython 3.11 then believes for ever that one is pending, and spins under a profiler
                continue
        raise Blocked  # the body may have swallowed it

    def _watch(self) -> None:
        warned: tuple[RunId, int, float] | None = None
        given_up: tuple[RunId, int, float] | None = None
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
                    self._stopped = watched
                    if self._watched is watched:
                        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(Blocked))
            elif blocked > 2 * self._limit and self._stopped is watched and given_up is not watched:
                given_up = watched
                log.critical("run %s can't be stopped; this worker lets its lease go", run)
                self._on_hopeless()
