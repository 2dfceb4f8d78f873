"""Threads for blocking steps. A thread that is stuck in an abandoned attempt is replaced, so that it costs no one else (R11)."""

from __future__ import annotations

import ctypes
import queue
import threading
from collections.abc import Callable


class StepAbandoned(BaseException):
    """Raised inside the thread of an attempt that was cancelled or has timed out."""


class Job:
    """One call in a thread."""

    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call
        self.thread: int | None = None
        self.abandoned = False
        self.lock: threading.Lock = threading.Lock()
        self.over = False


class ThreadPool:
    """At most ``size`` jobs at once, not counting abandoned ones. Threads are daemons: a stuck step can't keep the process alive."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._threads = 0
        self._open = 0
        """Jobs that were submitted, and have neither ended nor been abandoned."""
        self._lock = threading.Lock()

    def submit(self, job: Job) -> None:
        self._jobs.put(job)
        with self._lock:
            self._open += 1
            self._spawn()

    def _spawn(self) -> None:
        """A thread, if there is a job for one more: it counts jobs, since a thread that will take one does not show it yet."""
        if self._threads < min(self._open, self._size):
            self._threads += 1
            threading.Thread(target=self._work, name="outlive-step", daemon=True).start()

    def interrupt(self, job: Job) -> None:
        """Raise :class:`StepAbandoned` in the job's thread, at its next bytecode."""
        with job.lock:
            if job.thread is not None and not job.over:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(job.thread), ctypes.py_object(StepAbandoned))
        _settle_interpreter()

    def withdraw(self, job: Job) -> bool:
        """Whether ``job`` had not begun, and never will."""
        with job.lock:
            if job.thread is None:
                job.abandoned = True
            return job.thread is None

    def abandon(self, job: Job) -> None:
        """Count ``job``'s thread no longer."""
        with job.lock:
            if job.over or job.abandoned:
                return
            job.abandoned = True
            if job.thread is None:
                return  # it never began, so it holds no thread
        with self._lock:
            self._threads -= 1
            self._open -= 1
            self._spawn()

    def close(self) -> None:
        with self._lock:
            for _ in range(self._threads):
                self._jobs.put(None)

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            self._run(job)
            if job.abandoned and job.thread is not None:
                return  # its place has been given away
            with self._lock:
                self._open -= 1

    def _run(self, job: Job) -> None:
        with job.lock:
            if job.abandoned:
                return
            job.thread = threading.get_ident()
        try:
            try:
                job.call()
            finally:
                with job.lock:
                    job.over = True
        except StepAbandoned:
            pass  # it came after the call had ended, or the call let it through: either way this attempt is over


class _Settled(BaseException):
    """Raised by a thread into itself."""


def _settle_interpreter() -> None:
    """Take back the interpreter-wide mark that an exception waits for some thread.

    CPython 3.11 keeps one mark for all threads and clears it only when such an exception arrives. While the other thread is stuck in C the
    mark stays, and a thread that runs under a profiler (the strict guard) then spins for ever at the start of a function. One that arrives
    here clears it; the other thread sees its own as soon as it takes the interpreter again.
    """
    try:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(threading.get_ident()), ctypes.py_object(_Settled))
        for _ in range(8):
            pass
    except _Settled:
        pass
