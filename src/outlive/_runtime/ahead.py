"""Shows a body its next event before that is durable, where nothing comes of it until it is (R34).

A run that waits for one step and nothing else has one way to go on. Its body goes it while the commit is being made: what it asks
for is held back until the commit has happened, and if all it does is to end, that leaves in the same commit. If the commit never
happens, neither has the rest: whoever goes on from the log sees a body that has not moved. The log gets the time that the body
was shown, so a replay shows the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from outlive._core.machine import NeverIdle
from outlive._core.signals import Blocked, Discarded, Diverged, Undecodable
from outlive.model import commands as cmd
from outlive.model import events as ev
from outlive.model.commands import Command

if TYPE_CHECKING:
    from outlive._core.machine import Machine
    from outlive._runtime.hotrun import HotRun


class Ahead:
    """What a body has done ahead of its commit."""

    __slots__ = ("commands", "time")

    def __init__(self, commands: list[Command], time: float) -> None:
        self.commands = commands
        self.time = time
        """Log time of the event that it was shown."""

    @property
    def outcome(self) -> ev.RunOutcome | None:
        """How the run ended, if that is all that the body did."""
        match self.commands:
            case [cmd.EndRun(outcome=outcome)]:
                return outcome
            case _:
                return None


def may_go(machine: Machine, proposals: Sequence[object]) -> bool:
    """Whether the one thing that the body waits for is the one thing that has happened."""
    return (
        len(proposals) == 1 and isinstance(proposals[0], (ev.StepCompleted, ev.StepFailed)) and len(machine.open) == 1
    )


def go(hot: HotRun, machine: Machine, event: ev.Event, *, seq: int, time: float) -> Ahead | None:
    """Show ``event`` to the body; None if that went wrong, which is then dealt with."""
    watchdog = hot.owner.watchdog
    try:
        watchdog.begin(hot.run)
        try:
            commands = machine.activate(ev.Recorded(seq, time, event))
        finally:
            watchdog.end()
    except (Diverged, Undecodable, NeverIdle, Discarded) as error:
        hot.owner.reload(hot, error)  # the event stays proposed, and is shown again when it is durable
    except Blocked:
        hot.park_blocked()
    except Exception as error:  # a bug of ours costs this run, and only this run
        hot.failed(error)
    else:
        return Ahead(commands, time)
    return None
