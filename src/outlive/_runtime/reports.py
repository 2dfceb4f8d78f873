"""Why a run was parked, for the person who will mend it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final

from outlive._core.dropping import drop
from outlive._core.machine import Machine, NeverIdle
from outlive._core.matching import describe_issued
from outlive._core.signals import Discarded, Diverged, Undecodable
from outlive._runtime import versions
from outlive.model import events as ev

if TYPE_CHECKING:
    from outlive._runtime.hotrun import HotRun

_OURS: Final = str(Path(__file__).parent.parent) + os.sep
_ASYNCIO: Final = str(Path(asyncio.__file__).parent) + os.sep
_CALLBACK: Final = asyncio.Handle._run.__code__  # all loops run their callbacks in this frame
_ORIGIN_DEPTH: Final = 12


def user_frame() -> FrameType | None:
    """The nearest frame of the body that is the user's; None where a task of ours was made from a call of the user's (``gather``)."""
    frame: FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]  # there is no other way to the stack
    while frame is not None and frame.f_code is not _CALLBACK:
        if not frame.f_code.co_filename.startswith((_OURS, _ASYNCIO)):
            return frame
        frame = frame.f_back
    return None


def call_site() -> str:
    """``file:line`` where the body asks for what it asks for now."""
    frame = user_frame()
    if frame is not None:
        return f"{frame.f_code.co_filename}:{frame.f_lineno}"
    task = asyncio.current_task()
    coroutine = task.get_coro() if task is not None else None
    for file, line, _ in getattr(coroutine, "cr_origin", None) or ():
        if not file.startswith((_OURS, _ASYNCIO)):
            return f"{file}:{line}"
    frame = waiting_frame()
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else ""


def waiting_frame() -> FrameType | None:
    """Where the main task of the body is suspended, in the user's own code."""
    found: FrameType | None = None
    at = next((task.get_coro() for task in asyncio.all_tasks() if task.get_name() == "workflow"), None)
    while at is not None:
        frame: FrameType | None = getattr(at, "cr_frame", None)
        if frame is not None and not frame.f_code.co_filename.startswith((_OURS, _ASYNCIO)):
            found = frame
        at = getattr(at, "cr_await", None)
    return found


@contextmanager
def origins_known() -> Generator[None]:
    """Coroutines remember where they were made, for :func:`call_site`. It is slow."""
    before = sys.get_coroutine_origin_tracking_depth()
    sys.set_coroutine_origin_tracking_depth(max(before, _ORIGIN_DEPTH))
    try:
        yield
    finally:
        sys.set_coroutine_origin_tracking_depth(before)


def divergence_report(hot: HotRun, error: BaseException, build: Callable[..., Machine]) -> tuple[str, str, str]:
    """The reason in a few words; the report: recorded against attempted, with the line; and the only Python that may try again."""
    elsewhere = isinstance(error, Diverged) and hot.created.python != versions.PYTHON
    return (*_reason(hot, error, build), hot.created.python if elsewhere else "")


def _reason(hot: HotRun, error: BaseException, build: Callable[..., Machine]) -> tuple[str, str]:
    match error:
        case Diverged():
            where = _find_line(hot, error, build)
            lines = [
                f"recorded:  {error.recorded}",
                f"attempted: the code {error.attempted}",
            ]
            if where:
                lines.append(f"at:        {where}")
            lines.extend(suspicions(hot.created))
            lines.append(
                "Put the code back as it was, or keep both ways with patched(); the run goes on by itself when the code has changed, "
                "or at once with: outlive wake " + hot.run
            )
            return "code and log disagree", "\n".join(lines)
        case Undecodable():
            return "a recorded value can't be decoded", str(error)
        case NeverIdle():
            return (
                "never idle",
                "the body scheduled 100,000 callbacks without coming to rest; is there a loop around sleep(0)?",
            )
        case Discarded():
            return str(
                error
            ), "it ended so every time it was replayed; when the body is mended: outlive wake " + hot.run
        case _:
            return "it can't be replayed", f"{type(error).__name__}: {error}"


def suspicions(created: ev.RunCreated) -> list[str]:
    """What differs here from where the run began, and may be the cause."""
    found: list[str] = []
    if created.python != versions.PYTHON:
        found.append(
            f"note:      the run began on Python {created.python}, this is {versions.PYTHON}: parked for Python {created.python}"
        )
    if created.hash_seed != versions.hash_seed():
        found.append(
            "note:      the run began under another PYTHONHASHSEED: does the body iterate over a set of strings?"
        )
    return found


def _find_line(hot: HotRun, error: Diverged, build: Callable[..., Machine]) -> str:
    """Replay once more, noting where each command is issued."""
    machine = build(hot, trace=call_site)
    try:
        with origins_known():
            for recorded in hot.log:
                machine.activate(recorded, replaying=True)
    except (Diverged, Undecodable, NeverIdle, Discarded):
        pass  # it diverges again: now with lines
    where = line_of(machine, error)
    drop(machine)
    return where


def line_of(machine: Machine, error: Diverged) -> str:
    """The line of the command at which a traced ``machine`` diverged."""
    if 0 < error.ref <= len(machine.issued):
        command = machine.issued[error.ref - 1]
        return f"{command.where} ({describe_issued(command)})"
    if machine.issued:
        command = machine.issued[-1]
        return f"after {command.where} ({describe_issued(command)})"
    return ""
