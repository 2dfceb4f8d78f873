"""The waits of a hot run: when they are due, and when they are written (R14, R16)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from outlive._core.pending import Open
from outlive._runtime.timers import Alarm
from outlive.model import events as ev
from outlive.model.commands import StartWait

if TYPE_CHECKING:
    from outlive._runtime.hotrun import HotRun

LAZY_FOR: Final = 1.0
"""A wait is recorded at the latest this many seconds after it was issued."""


class Waits:
    """Open waits by ref. One cancelled before it was written leaves no trace; one that fires is written as it fires."""

    __slots__ = (
        "_alarms",
        "_dues",
        "_flush_armed",
        "_hot",
        "_unrecorded",
    )

    def __init__(self, hot: HotRun) -> None:
        self._hot = hot
        self._dues: dict[int, float] = {}
        self._unrecorded: dict[int, float] = {}
        """When each of them was issued, by the worker's clock."""
        self._alarms: dict[int, Alarm] = {}
        self._flush_armed = False

    @property
    def unrecorded(self) -> bool:
        """Whether there are waits that a commit could carry."""
        return bool(self._unrecorded)

    def due_of(self, ref: int) -> float | None:
        """When the wait of ``ref`` is over, if it is one."""
        return self._dues.get(ref)

    def start(self, command: StartWait) -> None:
        """The body asked for it."""
        self._dues.setdefault(command.ref, command.due)
        self._arm(command, recorded=False)

    def resume(self, ref: int, item: Open, command: StartWait, *, takeover: bool) -> None:
        """A replay left it open."""
        if item.withdrawn:
            if item.recorded is None:
                del self._hot.open[ref]
            else:
                self._hot.propose_end(ev.WaitCancelled(ref=ref))
            return
        if item.recorded is not None:
            self._dues[ref] = item.recorded
        elif ref not in self._dues:
            # never written before its worker died: it counts afresh, so that no deadline fires for downtime (R14)
            self._dues[ref] = self._hot.owner.clock.now() + command.delay if takeover else command.due
        if self._dues[ref] <= self._hot.owner.clock.now():
            self._complete(command)  # with what the inbox holds, in one commit: the earlier comes first (R15)
        else:
            self._arm(command, recorded=item.recorded is not None)

    def cancel(self, ref: int) -> None:
        """Nobody waits for it any more."""
        if ref not in self._hot.open or ref in self._hot.closed:
            return
        if (alarm := self._alarms.pop(ref, None)) is not None:
            alarm.cancel()
        if self._unrecorded.pop(ref, None) is not None:
            del self._hot.open[ref]
            self._dues.pop(ref, None)
        else:
            self._hot.propose_end(ev.WaitCancelled(ref=ref))

    def wake(self) -> None:
        """Somebody called ``wake_up()``: pending sleeps are over, timeouts and retries are not (R38)."""
        for ref, item in list(self._hot.open.items()):
            command = item.command
            if isinstance(command, StartWait) and command.kind == "sleep" and self._pending(ref, item):
                self._complete(command, woken=True)

    def ended(self, ref: int) -> None:
        """Its last event is durable."""
        self._dues.pop(ref, None)
        self._alarms.pop(ref, None)

    def clear(self) -> None:
        """Nothing more is to be written: the run ends or is parked."""
        self._unrecorded.clear()

    def keep_only_open(self) -> None:
        """The machine was rebuilt in place (test mode)."""
        for ref in self._unrecorded.keys() - self._hot.open.keys():
            del self._unrecorded[ref]

    def to_record(self, *, everything: bool, waking: bool) -> list[ev.Event]:
        """Waits that the commit now leaving should carry.

        Args:
            everything: The run leaves memory.
            waking: The commit brings something to the body, which may cancel them: a step that wins against a day's sleep then costs one
                event and not three.
        """
        if not self._unrecorded:
            return []
        late = self._hot.owner.clock.now() - LAZY_FOR
        records: list[ev.Event] = []
        for ref, issued in list(self._unrecorded.items()):
            command = self._hot.open[ref].command
            assert isinstance(command, StartWait), "only a wait is recorded this way"
            if everything or issued <= late or (command.kind == "sleep" and not waking):
                del self._unrecorded[ref]
                records.append(ev.WaitCreated(ref=ref, kind=command.kind, delay=command.delay, due=self._dues[ref]))
        return records

    def _arm(self, command: StartWait, *, recorded: bool) -> None:
        owner, ref = self._hot.owner, command.ref
        self._alarms[ref] = self._hot.at(self._dues[ref], lambda: self._due(ref))
        if recorded:
            return
        now = owner.clock.now()
        self._unrecorded[ref] = now
        if command.kind == "sleep":
            owner.journal.lazy(self._hot)
        if not self._flush_armed:
            self._flush_armed = True
            self._hot.at(now + LAZY_FOR, self._flush)

    def _flush(self) -> None:
        self._flush_armed = False
        if self._hot.dropped or not self._unrecorded:
            return
        due = min(self._unrecorded.values()) + LAZY_FOR
        if due <= self._hot.owner.clock.now():
            self._hot.touch()
        else:
            self._flush_armed = True
            self._hot.at(due, self._flush)

    def _due(self, ref: int) -> None:
        if not self._hot.listening:
            return
        item = self._hot.open.get(ref)
        if item is not None and isinstance(item.command, StartWait) and self._pending(ref, item):
            self._complete(item.command)

    def _pending(self, ref: int, item: Open) -> bool:
        return not item.withdrawn and ref not in self._hot.closed

    def _complete(self, command: StartWait, *, woken: bool = False) -> None:
        self._unrecorded.pop(command.ref, None)
        self._hot.take_inbox()  # what was accepted before the deadline comes before it (R15)
        due = self._dues[command.ref]
        self._hot.propose_end(
            ev.WaitCompleted(ref=command.ref, kind=command.kind, delay=command.delay, due=due, woken=woken)
        )
