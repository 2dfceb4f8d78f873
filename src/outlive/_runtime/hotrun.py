"""A run in this worker's memory: carries out what its machine asks for, and tells it what has become durable.

The circle of DESIGN section 4: a fact is found (an attempt ended, a wait is due, somebody knocked), proposed to the journal,
committed, and only then shown to the body, whose commands lead to the next facts.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Sequence
from typing import Final, assert_never, cast

from outlive._codec import Codec
from outlive._core.context import emit
from outlive._core.dropping import drop
from outlive._core.hooks import Hook
from outlive._core.machine import Machine, NeverIdle
from outlive._core.pending import Open
from outlive._core.signals import Blocked, Discarded, Diverged, Undecodable
from outlive._runtime import ahead
from outlive._runtime.ahead import Ahead
from outlive._runtime.attempts import Attempt
from outlive._runtime.lease import Lease
from outlive._runtime.leaving import Leaving
from outlive._runtime.outbox import Held, Outbox, size_of
from outlive._runtime.owner import Owner
from outlive._runtime.steps import Steps
from outlive._runtime.streaming import Streams
from outlive._runtime.timers import Alarm
from outlive._runtime.waits import Waits
from outlive.model import commands as cmd
from outlive.model import entries as en
from outlive.model import events as ev
from outlive.model.appending import IDLE
from outlive.model.commands import CallStep, Command, StartWait
from outlive.model.ids import RunId, TokenHash
from outlive.model.streams import streams_of
from outlive.model.webhooks import Answer
from outlive.stores.protocol import Fence

log: Final = logging.getLogger("outlive.worker")

BLOCKED_REPORT: Final = (
    "the body kept its worker's loop past the block limit without awaiting; put blocking or heavy work into a step. "
    "After mending it: outlive wake RUN"
)

_REGISTRATIONS: Final = frozenset(
    {
        cmd.OpenHook,
        cmd.StartChild,
        cmd.SendToHook,
        cmd.CancelOther,
        cmd.SendAnswer,
        cmd.WriteChunk,
        cmd.SetMarker,
    }
)
"""What must be durable before anything else of its activation acts (rule 5)."""

_NO_OPEN: Final[dict[int, Open]] = {}


class HotRun:
    """One owned run. Everything here happens in callbacks of the worker's loop, one at a time."""

    __slots__ = (
        "_ahead",
        "_alarms",
        "_ending",
        "_journal",
        "_leaving",
        "_outbox",
        "_parking",
        "_steps",
        "_streams",
        "_suspect",
        "_waits",
        "_watchdog",
        "activity",
        "closed",
        "created",
        "dropped",
        "epoch",
        "failures",
        "lease",
        "link",
        "log",
        "machine",
        "owner",
        "root",
        "run",
        "seq",
        "shown",
        "time",
    )

    def __init__(
        self,
        owner: Owner,
        *,
        lease: Lease,
        run: RunId,
        link: int,
        epoch: int,
        root: RunId,
        log: list[ev.Recorded],
        fresh: bool,
        careful: bool = False,
    ) -> None:
        """``fresh``: the last event of ``log`` has never been shown to a body."""
        first = log[0].event
        assert isinstance(first, ev.RunCreated), "a log begins with run_created"
        self.owner: Owner = owner
        self.lease: Lease = lease
        """Under which it was taken (executor.Writes)."""
        self.run: RunId = run
        self.link: int = link
        self.epoch: int = epoch
        self.root: RunId = root
        self.seq: int = log[-1].seq
        self.time: float = log[-1].time
        """Log time."""
        self.created: ev.RunCreated = first
        self.log: list[ev.Recorded] = log
        """What the machine is built from; kept while it is, or for ever in the test mode that rebuilds it."""
        self.shown: int = self.seq - 1 if fresh else self.seq
        """The seq up to which a body has been shown this log: so far it is replayed, after that it lives."""
        self.machine: Machine | None = None
        self.dropped: bool = False
        self.failures: int = 0
        """Activations that went wrong since the last that did not."""
        self.closed: set[int] = set()
        """Refs whose last event is proposed, or durable, and not yet shown to the body (R3)."""
        self._watchdog = owner.watchdog
        self._journal = owner.journal
        self._waits = Waits(self)
        self._steps = Steps(self, careful=careful)
        self._streams: Streams | None = None
        self._suspect = careful
        self._outbox = Outbox(self)
        self._ahead: Ahead | None = None
        """What the body has done on the event that is proposed, or in flight."""
        self._alarms: set[Alarm] = set()
        self._leaving = Leaving(self)
        self.activity: int = 0
        """Counts what happens to the run, for whoever looks whether something has."""
        self._ending: ev.RunOutcome | None = None
        self._parking = False

    # --- coming to life ----------------------------------------------------------------------------------------------

    def go_live(self, machine: Machine, rest: Sequence[ev.Recorded], *, takeover: bool) -> None:
        """What a body has been shown is replayed: show it the rest of the log, then take up all that is left open (rule 7)."""
        self.machine = machine
        if not self.owner.replay_always:
            self.log = []
        before = list(machine.open)
        for patch in machine.fresh_markers:
            self.propose(ev.Marker(id=patch))
        self.apply(rest)
        for ref in before:
            item = self.open.get(ref)
            if item is not None and ref not in self.closed:  # else its end is on the way
                self._resume(ref, item, takeover=takeover)
        if machine.ended and self.listening:
            assert machine.outcome is not None, "a body that ended has an outcome"
            self._end(machine.outcome)
        self._steps.resume_endings()
        if self._outbox.proposals:
            self.touch()
        else:
            self._begin(self._outbox.unhold())

    def suspend(self) -> None:
        """The machine is to be rebuilt from the log. Facts that were found stay."""
        self._forget_machine()
        self._ahead = None
        self._outbox.keep_facts()
        self._steps.unschedule()

    def _resume(self, ref: int, item: Open, *, takeover: bool) -> None:
        command = item.command
        match command:
            case StartWait():
                self._waits.resume(ref, item, command, takeover=takeover)
            case CallStep():
                self._steps.resume(ref, command, item)
            case cmd.OpenHook() if item.recorded is not None:
                if item.withdrawn:  # one disposed before it was registered is registered first, as it would have been
                    self._perform([cmd.DisposeHook(ref)])
            case _:
                self._perform([command])

    @property
    def listening(self) -> bool:
        """Whether the body can still be told something."""
        return self.machine is not None and not self.dropped and not self._parking and self._ending is None

    @property
    def rebuilding(self) -> bool:
        return self.machine is None and not self._parking

    @property
    def markers(self) -> frozenset[str]:
        """What ``patched()`` has answered with True, in the log or on its way there."""
        recorded = {item.event.id for item in self.log if type(item.event) is ev.Marker}
        return frozenset(recorded | {proposal.id for proposal in self._outbox.proposals if type(proposal) is ev.Marker})

    @property
    def suspected(self) -> bool:
        """It may have killed its worker, and has not gone on since."""
        return self._suspect

    @property
    def in_flight(self) -> bool:
        """A commit of it is on its way."""
        return self._outbox.in_flight is not None

    def next_due_of(self, ref: int) -> float | None:
        """When the wait of ``ref`` is over, if it is one."""
        return self._waits.due_of(ref)

    @property
    def open(self) -> dict[int, Open]:
        """Commands that have not ended."""
        return self.machine.open if self.machine is not None else _NO_OPEN

    def in_transaction(self, ref: int) -> bool:
        """Whether the step ``ref`` is done in a transaction of the user's."""
        item = self.open.get(ref)
        return item is not None and isinstance(item.command, CallStep) and item.command.options.transaction

    @property
    def codec(self) -> Codec:
        assert self.machine is not None, "a run without a machine was driven"
        return self.machine.codec

    # --- what the body asks for --------------------------------------------------------------------------------------

    def _perform(self, commands: list[Command]) -> None:
        outbox = self._outbox
        holding = bool(outbox.held) or not _REGISTRATIONS.isdisjoint(map(type, commands))
        for command in commands:
            match command:
                case CallStep() | cmd.EmitLog():
                    if holding:
                        outbox.held.append(command)
                    else:
                        self._let_go(command)
                case cmd.CancelStep(ref=ref):
                    self._steps.cancel(ref)
                case StartWait():
                    self._waits.start(command)
                case cmd.CancelWait(ref=ref):
                    self._waits.cancel(ref)
                case cmd.WatchRun(ref=ref, run_id=target):
                    outbox.watch.append(en.Watch(ref, target))
                    self.touch()
                case cmd.UnwatchRun(ref=ref):
                    outbox.unwatch.append(ref)
                    self.touch()
                case cmd.EndRun(outcome=outcome):
                    self._end(outcome)
                case _:
                    self._register(command)

    def _register(
        self,
        command: cmd.OpenHook
        | cmd.DisposeHook
        | cmd.StartChild
        | cmd.SendToHook
        | cmd.CancelOther
        | cmd.SendAnswer
        | cmd.WriteChunk
        | cmd.SetMarker,
    ) -> None:
        match command:
            case cmd.OpenHook():
                self.propose(_hook_created(command))
            case cmd.DisposeHook(ref=ref):
                self.take_inbox()
                self.propose(ev.HookDisposed(ref=ref))
            case cmd.StartChild(ref=ref):
                self.propose(en.SpawnRun(ref, self.owner.new_run(command, self)))
            case cmd.SendToHook(ref=ref, digest=digest, token_hash=hashed, payload=payload):
                self.propose(en.SendPayload(ref, digest, hashed, payload))
            case cmd.CancelOther(ref=ref, digest=digest, run_id=target):
                self.propose(en.RequestCancel(ref, digest, target))
            case cmd.SendAnswer(ref=ref, digest=digest, request=request, answer=answer):
                self.propose(en.Respond(ref, digest, request, answer))
            case cmd.WriteChunk(ref=ref, digest=digest, stream=stream, piece=piece):
                self.propose(en.WriteStream(ref, digest, stream, piece))
            case cmd.SetMarker(id=patch):
                self.propose(ev.Marker(id=patch))
            case _:
                assert_never(command)

    def _begin(self, held: list[Held]) -> None:
        """What was held back for has become durable."""
        for command in held:
            self._let_go(command)

    def _let_go(self, command: Held) -> None:
        if isinstance(command, cmd.EmitLog):
            emit(command.record)
        else:
            self._steps.start(command)

    def _end(self, outcome: ev.RunOutcome) -> None:
        """The body is done (R5): steps that lost a race are recorded as they are, everything else is freed by the last event."""
        left = self._steps.close_all()
        self.closed.update(event.ref for event in left)
        self._outbox.proposals.extend(left)
        self._waits.clear()
        self._outbox.watch.clear()
        self._ending = outcome
        self.take_inbox()
        self.propose(outcome)

    # --- what is found -----------------------------------------------------------------------------------------------

    def knock(self) -> None:
        """There may be messages in the inbox."""
        if not self.dropped and not self._parking:
            self.take_inbox()
            self.touch()

    def take_inbox(self) -> None:
        """The next commit takes in what others have sent."""
        self._outbox.take = True

    def propose(self, proposal: en.Proposal) -> None:
        """Append this to the log, soon."""
        self._outbox.proposals.append(proposal)
        self.touch()

    def propose_end(self, event: ev.Event) -> None:
        """Append the one event that ends its ref (R3)."""
        self.closed.add(event.ref)
        self._outbox.proposals.append(event)
        self.touch()

    def cancel_task(self, ref: int) -> None:
        """A step in a queue should end: at once if nobody has begun it, else its worker is told."""
        self._outbox.cancel_tasks.append(ref)
        self.take_inbox()  # it may have ended
        self.touch()

    def at(self, when: float, callback: Callable[[], None]) -> Alarm:
        """Call ``callback`` at ``when``, unless the run leaves memory before."""
        if len(self._alarms) > 64 and len(self._alarms) > 4 * len(self.open):
            self._alarms = {alarm for alarm in self._alarms if alarm.callback is not None}
        alarm = self.owner.timers.at(when, callback)
        self._alarms.add(alarm)
        return alarm

    @property
    def streams(self) -> Streams:
        """What its steps write; most runs have none."""
        if self._streams is None:
            self._streams = Streams(self)
        return self._streams

    @property
    def streaming(self) -> bool:
        """Something that was written to a stream is not durable yet."""
        return self._streams is not None and self._streams.pending

    def has_written(self, ref: int) -> bool:
        """Whether the step ``ref`` has written to a stream in this life."""
        return self._streams is not None and ref in self._streams.wrote

    def _forget_streams(self) -> None:
        if self._streams is not None:
            self._streams.forget()

    def counts(self, attempt: Attempt) -> bool:
        """Whether the result of ``attempt`` would be accepted, and so what it writes (executor.Writes)."""
        return not self.dropped and self._steps.counts(attempt)

    @property
    def fence(self) -> Fence | None:
        """For what a step records past the journal (executor.Writes)."""
        return None if self.lease.over or self.dropped else Fence(self.run, self.link, self.epoch, self.lease.worker)

    async def respond(self, request: str, answer: Answer) -> bool:
        """A step answers the caller of a webhook."""
        outcome = await self._journal.request(en.AnswerRequest(request, answer))
        self.owner.news((request,))
        return isinstance(outcome, en.Answered) and outcome.first

    def touch(self) -> None:
        """There is something to commit."""
        self.activity += 1
        if not self.dropped:
            self._journal.touch(self)

    # --- to and from the journal (journal.Source) --------------------------------------------------------------------

    def collect(self) -> tuple[en.RunCommit, int] | None:
        if self.dropped or self.rebuilding:
            return None
        outbox = self._outbox
        release = outbox.release and self.quiet
        if self.listening:
            self._record_riders(release=release)
            if self._ahead is None and self._may_go_ahead():
                self._go_ahead()
                if self.rebuilding:
                    return None
        if self._parking:
            outbox.take = False
        time = None if self._ahead is None else self._ahead.time
        commit = outbox.collect(release=release, judge=self._judge, time=time)
        return None if commit is None else (commit, size_of(commit.proposals))

    def _may_go_ahead(self) -> bool:
        return (
            self.machine is not None
            and ahead.may_go(self.machine, self._outbox.proposals)
            and self._outbox.may_go_ahead
            and self.owner.goes_ahead
            and not self.in_transaction(self._outbox.proposals[0].ref)  # the store may know better
        )

    def _go_ahead(self) -> None:
        event = self._outbox.proposals[0]
        assert self.machine is not None and isinstance(event, (ev.StepCompleted, ev.StepFailed)), (
            "nothing to go ahead on"
        )
        time = max(self.time, self.owner.clock.now())
        gone = self._ahead = ahead.go(self, self.machine, event, seq=self.seq + 1, time=time)
        if gone is not None and gone.outcome is not None:
            self._ending = gone.outcome
            self.take_inbox()
            self._outbox.proposals.append(gone.outcome)

    def _record_riders(self, *, release: bool) -> None:
        """What nobody waits for rides in a commit that leaves anyway (R10, R16)."""
        if self._waits.unrecorded:
            waking = any(type(proposal) in ev.ACTIVATIONS for proposal in self._outbox.proposals)
            riders = self._steps.to_record()
            self._outbox.proposals.extend(riders)
            self._outbox.proposals.extend(self._waits.to_record(everything=release, waking=waking))
        elif self._steps.unrecorded:
            self._outbox.proposals.extend(self._steps.to_record())

    def _judge(self, ref: int, payload: ev.Payload) -> str:
        """Why ``payload`` does not fit the hook ``ref``, by the code that runs now (R20). On the store's thread."""
        item = self.open.get(ref)
        hook = None if item is None else item.target
        return cast("Hook[object]", hook).refusal(payload) if isinstance(hook, Hook) else ""

    def undelivered(self) -> tuple[tuple[TokenHash, ev.HookReceived], ...]:
        """Payloads in the log that the body has not received: they go on with the chain (R8)."""
        return self.machine.undelivered() if self.machine is not None else ()

    @property
    def unheard_cancel(self) -> bool:
        """The body was done when its end was asked for."""
        return self.machine is not None and self.machine.unheard_cancel

    def put_back(self) -> None:
        self._outbox.put_back()

    def settled(self, outcome: en.Outcome) -> None:
        commit = self._outbox.settled()
        if self.dropped:
            return
        match outcome:
            case en.Committed():
                self._committed(commit, outcome)
            case en.Fenced():
                self.abandon()
                self.owner.lost(self)
            case en.Rejected(reason=reason) if self._parking:
                log.critical("run %s can't even be parked: %s", self.run, reason)
                self.abandon()
                self.owner.lost(self)
            case en.Rejected(reason=reason):
                log.error("run %s can't be written: %s", self.run, reason)
                self.park("the store refused to write it", reason)
            case _:
                raise AssertionError(f"{outcome} is not the outcome of a run's commit")

    def failed(self, error: Exception) -> None:
        self.park("an internal error of Outlive: please report it", "".join(traceback.format_exception(error)))

    def _committed(self, commit: en.RunCommit, outcome: en.Committed) -> None:
        self.seq = outcome.seq
        events = outcome.events
        if events:
            self.time = events[-1].time
            if self._suspect and not IDLE.issuperset(type(recorded.event) for recorded in events):
                self._suspect = False
                self.owner.acquitted(self.run)
        gone, self._ahead = self._ahead, None
        if outcome.ended_watches:
            self.owner.told(outcome.ended_watches)
        if outcome.answered:
            self.owner.news(outcome.answered)
        if outcome.cancelling:
            self.owner.poke()  # one of them may be this worker
        if commit.streams:
            self.streams.stand()
        if commit.streams or outcome.wrote:
            self.owner.news((streams_of(self.run),))
        last = type(commit.proposals[-1]) if commit.proposals else None
        if last is ev.RunParked:
            self.drop()
            self.owner.parked(self)
        elif commit.release:
            self.drop()
            self.owner.gone(self)
        elif last in ev.TERMINAL:
            self._finished(outcome)
        else:
            self._begin(self._outbox.freed())
            if gone is not None:
                assert type(events[0].event) in ev.ACTIVATIONS, "the body went ahead on the first event of its commit"
                self._note(events[0].event)
                self.shown, self.failures = events[0].seq, 0
                self._perform(gone.commands)
                events = events[1:]
            self.apply(events)
            if outcome.waking and self.listening:
                self._waits.wake()
                self._outbox.ack.extend(outcome.waking)
                self.touch()
            self.consider_leaving()

    def _finished(self, outcome: en.Committed) -> None:
        ending = self._ending
        assert ending is not None, "a terminal event that no body asked for"
        self.drop()
        if isinstance(ending, ev.RunContinued):
            self.owner.continued(self, outcome.next_events)
        else:
            self.owner.ended(self, ending)

    def apply(self, events: Sequence[ev.Recorded]) -> None:
        """Show the body what has become durable, one event at a time."""
        if len(events) > 1:  # it may be done with the first: what the others end has its end all the same
            ended = {recorded.event.ref for recorded in events if type(recorded.event) in ev.ENDS_REF}
            self.closed |= ended
            # and what is left of its end, if that is written in parts, must not say so again
            if self._ending is not None:
                self._outbox.forget_cancelled(ended)
        for recorded in events:
            if self.machine is None:
                return
            if recorded.event.ref:
                self._note(recorded.event)
            try:
                self._show(self.machine, recorded)
            except (Diverged, Undecodable, NeverIdle, Discarded) as error:
                self.owner.reload(self, error)
                return
            except Blocked:
                self.park_blocked()
                return
        if self._outbox.proposals:
            self.touch()

    def _show(self, machine: Machine, recorded: ev.Recorded) -> None:
        if self.owner.replay_always:
            if type(recorded.event) in ev.ACTIVATIONS:
                machine = self._rebuild(machine)
            self.log.append(recorded)
        watchdog = self._watchdog
        watchdog.begin(self.run)
        try:
            commands = machine.activate(recorded)
        finally:
            watchdog.end()
        self.shown, self.failures = recorded.seq, 0
        if commands:
            self._perform(commands)
        elif type(recorded.event) is ev.StepRetrying:
            self._steps.retrying(recorded.event)

    def _note(self, event: ev.Event) -> None:
        """Book-keeping of what has become durable."""
        kind = type(event)
        if kind in ev.ENDS_REF:
            self.closed.discard(event.ref)
            if kind is ev.WaitCompleted or kind is ev.WaitCancelled:
                self._waits.ended(event.ref)
            elif kind is ev.ChildStarted:
                self.owner.poke()  # somebody should take it
        elif kind is ev.StepStarted:
            self._steps.announced(event.ref)
        elif kind is ev.StepScheduled:
            self._steps.scheduled(event.ref)
            self.owner.poke()

    def _rebuild(self, machine: Machine) -> Machine:
        """Test mode: forget the coroutine and replay it, as if it had been evicted at every event."""
        drop(machine)
        machine = self.owner.build(self)
        for recorded in self.log:
            machine.activate(recorded, replaying=True)
        self.machine = machine
        self._waits.keep_only_open()
        return machine

    # --- leaving -----------------------------------------------------------------------------------------------------

    @property
    def quiet(self) -> bool:
        """Nothing in flight, only waits, hooks and other runs ahead: a crash would lose nothing, nor does eviction."""
        return not (self._steps.in_flight or self._outbox.waiting or self.streaming or not self.listening)

    def consider_leaving(self) -> None:
        """Leave memory after the linger, unless something happens meanwhile, or soon will."""
        self._leaving.consider()

    def leave(self) -> None:
        """Give up the claim with the next commit."""
        self._outbox.release = True
        self._journal.touch(self)

    def park_blocked(self) -> None:
        """Its body was stopped (R28)."""
        self.park("WorkflowBlocked", BLOCKED_REPORT)

    def park(self, reason: str, report: str, python: str = "") -> None:
        """Stop for a human, or for ``python``. What was recorded stays as it is."""
        if self.dropped or self._parking:
            return
        self._parking = True
        self._ahead = None
        self._steps.cancel_all()
        self._forget_streams()
        self._forget_machine()
        self._outbox.clear()
        self._waits.clear()
        fingerprint = self.owner.fingerprint()
        self.propose(ev.RunParked(reason=reason, report=report, fingerprint=fingerprint, python=python))

    def abandon(self) -> None:
        """The run belongs to another worker now; its steps should not go on here."""
        self._steps.cancel_all()
        self.drop()

    def drop(self) -> None:
        """Take the run out of memory. Attempts that still run finish for nobody."""
        if not self.dropped:
            self.dropped = True
            self.owner.journal.forget(self)
            for alarm in self._alarms:
                alarm.cancel()
            self._alarms.clear()
            self._steps.forget()
            self._forget_streams()
            self._forget_machine()

    def _forget_machine(self) -> None:
        if self.machine is not None:
            drop(self.machine)
            self.machine = None


def _hook_created(command: cmd.OpenHook) -> ev.HookCreated:
    return ev.HookCreated(
        ref=command.ref,
        token_hash=command.token_hash,
        token=command.token,
        schema=command.schema,
        metadata=command.metadata,
        webhook=command.webhook,
    )
