"""The debugger around a replay."""

from __future__ import annotations

import inspect
import pdb
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Final

from outlive._runtime.reports import user_frame, waiting_frame

_SKIPPED: Final = ("outlive._*", "asyncio.*", "contextlib", "contextvars")


class Debugger:
    """Stops at the beginning of a body, and where the command with ``stop_at_ref`` is issued."""

    def __init__(self, *, stop_at_ref: int) -> None:
        self.stopped_at_ref: bool = False
        self._stop_at_ref = stop_at_ref
        self._pdb = pdb.Pdb(skip=_SKIPPED)

    @property
    def left(self) -> bool:
        """The user has quit."""
        return bool(self._pdb.quitting)

    @contextmanager
    def watching(self, body: Callable[..., Any]) -> Generator[None]:
        """Trace what is called inside; stop at the first line of ``body``."""
        debugger, code = self._pdb, body.__code__
        problem = debugger.set_break(code.co_filename, code.co_firstlineno, temporary=True, funcname=code.co_name)
        if problem:
            print(f"can't stop at the beginning: {problem}")
        debugger.reset()
        debugger.botframe = inspect.currentframe()
        debugger.set_continue()
        sys.settrace(debugger.trace_dispatch)
        try:
            yield
        finally:
            sys.settrace(None)

    def on_command(self, ref: int) -> None:
        """The body issues the command with this ref now."""
        if ref != self._stop_at_ref or self.stopped_at_ref or self.left:
            return
        self.stopped_at_ref = True
        frame = user_frame()
        if frame is None:
            print(
                f"command {ref}, which diverges, is issued by a task (gather, race, create_task) while the body waits here:"
            )
        else:
            print(f"command {ref}, which diverges, is issued here:")
        self._pdb.interaction(frame or waiting_frame() or inspect.currentframe(), None)
