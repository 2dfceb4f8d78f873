"""A log as a story: one entry for each step, wait, hook and child, in the order in which they enter the log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from msgspec import Struct

from outlive._core.seeds import Seed
from outlive.model import events as ev
from outlive.model.events import Recorded
from outlive.views import error_text, view, view_payload


class Entry(Struct, kw_only=True, omit_defaults=True):
    """One line of the story; moments are seconds since the epoch."""

    kind: str
    """``run``, ``step``, ``sleep``, ``timer``, ``hook``, ``child``, ``result``, ``call``, ``patch``."""
    name: str = ""
    status: str
    started: float
    ref: int = 0
    ended: float | None = None
    due: float | None = None
    """Of a wait or of a step that will be retried."""
    attempts: int = 0
    queue: str = ""
    """In which a step waits, or waited."""
    taken_over: bool = False
    """Another worker began it, and died or stopped."""
    failures: list[str] = []  # msgspec copies it
    value: object = None
    """Result, payload, or what the run was asked."""
    token: str = ""
    payloads: list[object] = []
    report: str = ""
    """Traceback, or why it is parked."""


def tell(log: Sequence[Recorded], *, tokens: bool = False) -> list[Entry]:
    """The story of one link. Tokens of hooks are secrets: they are told only when asked for."""
    return _Teller(log, tokens).entries


class _Teller:
    def __init__(self, log: Sequence[Recorded], tokens: bool) -> None:
        self.entries: list[Entry] = []
        self._by_ref: dict[int, Entry] = {}
        self._workers: dict[int, str] = {}
        self._tokens = tokens
        self._seed = Seed("")
        for recorded in log:
            self._add(recorded)
        if log and type(log[-1].event) in ev.TERMINAL:
            for entry in self.entries:
                if entry.status in ("waiting", "open", "queued", "running", "retrying"):
                    entry.status = "left"

    def _add(self, recorded: Recorded) -> None:
        event = recorded.event
        match event:
            case ev.RunCreated():
                self._seed = Seed(event.seed)
                self._run(recorded, "created", value=view(event.input, tokens=self._tokens))
            case ev.RunStarted():
                self._run(recorded, "started")
            case ev.RunCompleted():
                self._run(recorded, "completed", value=view(event.result, tokens=self._tokens))
            case ev.RunFailed():
                self._run(recorded, "failed", value=error_text(event.error)[0], report=error_text(event.error)[1])
            case ev.RunCancelled():
                self._run(recorded, "cancelled")
            case ev.RunContinued():
                self._run(recorded, "continued", value=view(event.input, tokens=self._tokens))
            case ev.RunTerminated(reason=reason):
                self._run(recorded, "terminated", value=reason or None)
            case ev.RunParked(reason=reason, report=report):
                self._run(recorded, "parked", value=reason, report=report)
            case ev.RunUnparked():
                self._run(recorded, "unparked")
            case ev.CancelRequested():
                self._run(recorded, "cancel requested")
            case ev.Marker(id=patch):
                self.entries.append(Entry(kind="patch", name=patch, status="taken", started=recorded.time))
            case ev.StepScheduled(options=options):
                entry = self._of(recorded, "step", name=event.name, started=recorded.time)
                entry.attempts, entry.due, entry.status = event.attempt, None, "queued"
                entry.queue = options.queue
            case ev.StepStarted() | ev.StepCompleted() | ev.StepFailed() | ev.StepRetrying() | ev.StepCancelled():
                self._step(recorded, event)
            case ev.WaitCreated(kind=kind, delay=delay, due=due):
                self._of(recorded, kind, started=due - delay).due = due
            case ev.WaitCompleted(kind=kind, delay=delay, due=due):
                entry = self._of(recorded, kind, started=due - delay)
                entry.due, entry.ended, entry.status = due, recorded.time, "woken" if event.woken else "completed"
            case ev.WaitCancelled():
                entry = self._of(recorded, "wait")
                entry.ended, entry.status = recorded.time, "cancelled"
            case ev.HookCreated() | ev.HookConflict() | ev.HookReceived() | ev.HookDiscarded() | ev.HookDisposed():
                self._hook(recorded, event)
            case ev.ChildStarted(run_id=run_id, workflow=workflow):
                entry = self._of(recorded, "child", name=workflow, value=run_id)
                entry.ended, entry.status = recorded.time, "conflict" if event.conflict else "started"
            case ev.ChildCompleted(run_id=run_id):
                value = error_text(event.outcome)[0] if event.status == "failed" else view(event.outcome)
                entry = self._of(recorded, "result", name=run_id, value=value)
                entry.ended, entry.status = recorded.time, event.status
            case ev.CallCompleted(name=name):
                entry = self._of(recorded, "call", name=name)
                entry.ended, entry.status = recorded.time, "completed"
            case ev.CallFailed(name=name, reason=reason):
                entry = self._of(recorded, "call", name=name, value=reason)
                entry.ended, entry.status = recorded.time, "failed"
            case _:
                assert_never(event)

    def _run(self, recorded: Recorded, status: str, *, value: object = None, report: str = "") -> None:
        self.entries.append(Entry(kind="run", status=status, started=recorded.time, value=value, report=report))

    def _of(
        self, recorded: Recorded, kind: str, *, name: str = "", started: float | None = None, value: object = None
    ) -> Entry:
        """The entry of the event's ref, begun with this event if there is none."""
        ref = recorded.event.ref
        entry = self._by_ref.get(ref)
        if entry is None:
            begun = recorded.time if started is None else started
            entry = Entry(kind=kind, name=name, status="waiting", started=begun, ref=ref, value=value)
            self._by_ref[ref] = entry
            self.entries.append(entry)
        return entry

    def _step(
        self,
        recorded: Recorded,
        event: ev.StepStarted | ev.StepCompleted | ev.StepFailed | ev.StepRetrying | ev.StepCancelled,
    ) -> None:
        started = None if isinstance(event, ev.StepStarted | ev.StepCancelled) else event.started
        entry = self._of(recorded, "step", name=event.name, started=started)
        entry.taken_over |= self._workers.get(event.ref, recorded.worker) != recorded.worker
        self._workers[event.ref] = recorded.worker
        entry.attempts, entry.due = event.attempt, None
        match event:
            case ev.StepStarted():
                entry.status = "running"
            case ev.StepRetrying(error=error, at=at):
                entry.status, entry.due = "retrying", at
                entry.failures.append(error_text(error)[0])
            case ev.StepCompleted(result=result):
                entry.status, entry.ended = "completed", recorded.time
                entry.value = view(result, tokens=self._tokens)
            case ev.StepFailed(error=error):
                entry.status, entry.ended = "failed", recorded.time
                text, entry.report = error_text(error)
                entry.failures.append(text)
            case ev.StepCancelled(outcome=outcome):
                entry.status, entry.ended, entry.value = "cancelled", recorded.time, outcome.replace("_", " ")
            case _:
                assert_never(event)

    def _hook(
        self,
        recorded: Recorded,
        event: ev.HookCreated | ev.HookConflict | ev.HookReceived | ev.HookDiscarded | ev.HookDisposed,
    ) -> None:
        entry = self._of(recorded, "hook")
        match event:
            case ev.HookCreated(ref=ref, token=token, schema=schema):
                entry.status, entry.name = "open", schema
                if self._tokens:
                    entry.token = token or self._seed.token(ref)
            case ev.HookConflict(run_id=run_id):
                entry.status, entry.ended, entry.value = "conflict", recorded.time, run_id
            case ev.HookReceived(payload=payload):
                entry.payloads.append(view_payload(payload, tokens=self._tokens))
            case ev.HookDiscarded(payload=payload):
                entry.payloads.append({"discarded": view_payload(payload, tokens=self._tokens)})
            case ev.HookDisposed():
                entry.status, entry.ended = "closed", recorded.time
            case _:
                assert_never(event)
