"""Why a run was parked, for the person who will mend it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from outlive._core.dropping import drop
from outlive._core.machine import Machine, NeverIdle
from outlive._core.matching import describe_issued
from outlive._core.signals import Discarded, Diverged, Undecodable
from outlive._runtime import versions

if TYPE_CHECKING:
    from outlive._runtime.hotrun import HotRun

_OURS: Final = str(Path(__file__).parent.parent)
_ASYNCIO: Final = str(Path(sys.modules["asyncio"].__file__ or "").parent)


def call_site() -> str:
    """``file:line`` of the nearest frame that is the user's."""
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith((_OURS, _ASYNCIO)):
            return f"{file}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]  # the outermost frame has none
    return ""


def divergence_report(
    hot: HotRun, error: BaseException, build: Callable[..., Machine]
) -> tuple[str, str]:
    """The reason in a few words, and the report: recorded against attempted, with the line."""
    match error:
        case Diverged():
            where = _find_line(hot, error, build)
            lines = [
                f"recorded:  {error.recorded}",
                f"attempted: the code {error.attempted}",
            ]
            if where:
                lines.append(f"at:        {where}")
            lines.extend(_suspicions(hot))
            lines.append(
                "Put the code back as it was, or keep both ways with patched(); the run goes on by itself when the code has changed, "
                "or at once with: outlive wake " + hot.run
            )
            return "code and log disagree", "\n".join(lines)
        case Undecodable():
            return "a recorded value can't be decoded", str(error)
        case NeverIdle():
            return "never idle", "the body scheduled 100,000 callbacks without coming to rest; is there a loop around sleep(0)?"
        case Discarded():
            return "it can't be replayed", str(error)
        case _:
            return "it can't be replayed", f"{type(error).__name__}: {error}"


def _suspicions(hot: HotRun) -> list[str]:
    created = hot.created
    found: list[str] = []
    if created.python != versions.PYTHON:
        found.append(f"note:      the run began on Python {created.python}, this is {versions.PYTHON}: parked for Python {created.python}")
    if created.hash_seed != versions.hash_seed():
        found.append("note:      the run began under another PYTHONHASHSEED: does the body iterate over a set of strings?")
    return found


def _find_line(hot: HotRun, error: Diverged, build: Callable[..., Machine]) -> str:
    """Replay once more, noting where each command is issued."""
    machine = build(hot, trace=call_site)
    try:
        for recorded in hot.log:
            machine.activate(recorded, replaying=True)
    except (Diverged, Undecodable, NeverIdle, Discarded):
        pass  # it diverges again: now with lines
    where = ""
    if 0 < error.ref <= len(machine.issued):
        command = machine.issued[error.ref - 1]
        where = f"{command.where} ({describe_issued(command)})"
    elif machine.issued:
        command = machine.issued[-1]
        where = f"after {command.where} ({describe_issued(command)})"
    drop(machine)
    return where
