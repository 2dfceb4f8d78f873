"""The steps of a hot run: from a command to attempts, and from how they end to events (R6, R10, R11)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, assert_never

from msgspec import Raw

from outlive._core.pending import Open
from outlive._runtime.attempts import Attempt, Ending, Raised, Returned, Stopped
from outlive.errors import StepInterrupted
from outlive.model import events as ev
from outlive.model.commands import CallStep
from outlive.model.retry import next_delay

if TYPE_CHECKING:
    from outlive._runtime.hotrun import HotRun


class Steps:
    """Attempts in flight, by ref. ``careful``: a step's start is durable before it acts (R31)."""

    __slots__ = (
        "_announced",
        "_attempts",
        "_careful",
        "_executor",
        "_hot",
        "_journal",
        "_scheduling",
        "_stash",
        "unrecorded",
    )

    def __init__(self, hot: HotRun, *, careful: bool) -> None:
        self._hot = hot
        self._executor = hot.owner.executor
        self._journal = hot.owner.journal
        self._careful = careful
        self._attempts: dict[int, Attempt] = {}
        self._announced: dict[int, Attempt] = {}
        """Attempts that begin once their ``step_started`` is durable."""
        self._scheduling: set[int] = set()
        """Refs whose ``step_scheduled`` is proposed and not yet in the log."""
        self.unrecorded: list[Attempt] = []
        """Attempts that were given to the executor, and whose start is not in the log."""
        self._stash: list[tuple[Attempt, Ending]] = []
        """Ends that came while the machine was being rebuilt."""

    @property
    def in_flight(self) -> bool:
        return bool(self._attempts)

    # --- beginning ---------------------------------------------------------------------------------------------------

    def start(self, command: CallStep) -> None:
        """Begin the next attempt, unless the step was cancelled before: then it never runs (R1)."""
        item = self._hot.open.get(command.ref)
        if item is None or item.cancelling or command.ref in self._hot.closed:
            return
        if command.options.queue:
            self._schedule(command, item)
            return
        if not self._executor.knows(command.name):
            # after what else its activation asks for
            report = f"no step {command.name!r} is known here; start a worker that imports the module which defines it"
            self._executor.loop.call_soon(self._hot.park, "a step that is not known", report)
            return
        attempt = Attempt(
            command,
            writes=self._hot,
            run=self._hot.run,
            link=self._hot.link,
            number=item.attempt,
            overlapping=item.overlapping,
            on_end=self._ended,
        )
        self._attempts[command.ref] = attempt
        if self._careful or command.options.at_most_once:
            self._announced[command.ref] = attempt
            self._hot.propose(_started(attempt))
        else:
            self._begin(attempt)

    def _schedule(self, command: CallStep, item: Open) -> None:
        """Put the next attempt into its queue, for whoever serves that."""
        self._scheduling.add(command.ref)
        self._hot.propose(
            ev.StepScheduled(
                ref=command.ref,
                name=command.name,
                digest=command.digest,
                input=command.input,
                options=command.options,
                attempt=item.attempt,
            )
        )

    def scheduled(self, ref: int) -> None:
        """It is in its queue."""
        self._scheduling.discard(ref)

    def unschedule(self) -> None:
        """What was proposed is taken back; the body will ask for it again."""
        self._scheduling.clear()

    def announced(self, ref: int) -> None:
        """A ``step_started`` is durable."""
        attempt = self._announced.pop(ref, None)
        if attempt is not None:
            attempt.recorded = True
            self._begin(attempt)

    def _begin(self, attempt: Attempt) -> None:
        self._executor.start(attempt)
        if not attempt.recorded:
            self.unrecorded.append(attempt)
            self._journal.lazy(self._hot)

    def resume(self, ref: int, command: CallStep, item: Open) -> None:
        """A replay left it open."""
        if ref in self._attempts:
            return  # it went on while the machine was rebuilt
        if item.scheduled:
            if item.cancelling:
                self._hot.cancel_task(ref)
        elif item.cancelling:
            self._cancel_unstarted(command, item)
        elif item.retry_at is not None:
            self.arm_retry(ref, item.retry_at)
        elif item.recorded is not None and command.options.at_most_once:
            self._interrupted(command, item)
        else:
            self._hot.streams.void(ref)  # an attempt of a life before may have written
            self.start(command)

    def counts(self, attempt: Attempt) -> bool:
        """Whether the result of ``attempt`` would be accepted."""
        return self._attempts.get(attempt.call.ref) is attempt

    def resume_endings(self) -> None:
        """The machine is back."""
        stash, self._stash = self._stash, []
        for attempt, ending in stash:
            self._ended(attempt, ending)

    def to_record(self) -> list[ev.Event]:
        """Starts that the commit now leaving should carry."""
        started: list[ev.Event] = []
        queued: list[Attempt] = []
        for attempt in self.unrecorded:
            if attempt.running:
                attempt.recorded = True
                started.append(_started(attempt))
            elif not attempt.ended:
                queued.append(attempt)
        self.unrecorded = queued
        return started

    # --- retrying ----------------------------------------------------------------------------------------------------

    def retrying(self, event: ev.StepRetrying) -> None:
        """It is durable that another attempt follows."""
        item = self._hot.open.get(event.ref)
        if item is not None and item.cancelling:
            assert isinstance(item.command, CallStep), "only a step is retried"
            self._cancel_unstarted(item.command, item)
        else:
            self.arm_retry(event.ref, event.at)

    def arm_retry(self, ref: int, at: float) -> None:
        self._hot.at(at, lambda: self._retry(ref, at))

    def _retry(self, ref: int, at: float) -> None:
        if not self._hot.listening or ref in self._attempts:
            return
        item = self._hot.open.get(ref)
        if item is None or item.cancelling or item.retry_at != at or ref in self._hot.closed:
            return
        assert isinstance(item.command, CallStep), "only a step is retried"
        item.retry_at = None
        self.start(item.command)

    # --- cancelling --------------------------------------------------------------------------------------------------

    def cancel(self, ref: int) -> None:
        """The body asked for it."""
        item = self._hot.open.get(ref)
        if item is None or ref in self._hot.closed:
            return
        assert isinstance(item.command, CallStep), "only a step is cancelled this way"
        if item.scheduled or ref in self._scheduling:
            self._hot.cancel_task(ref)
            return
        attempt = self._attempts.get(ref)
        if attempt is None or ref in self._announced:
            self._cancel_unstarted(item.command, item)
        else:
            self._hot.owner.executor.cancel(attempt)

    def _cancel_unstarted(self, command: CallStep, item: Open) -> None:
        if command.ref in self._hot.closed:
            return
        self._attempts.pop(command.ref, None)
        self._announced.pop(command.ref, None)
        began = item.recorded is not None or item.attempt > 1
        self._hot.propose_end(cancelled(command, item.attempt, "ended" if began else "not_started"))

    def close_all(self) -> list[ev.Event]:
        """The body is done: steps that it no longer waits for are recorded as they are; what runs finishes for nobody (R5)."""
        events: list[ev.Event] = []
        for ref, item in self._hot.open.items():
            if isinstance(item.command, CallStep) and ref not in self._hot.closed:
                begun = ref in self._attempts or item.scheduled
                outcome: Literal["unknown", "not_started"] = "unknown" if begun else "not_started"
                events.append(cancelled(item.command, item.attempt, outcome))
        return events

    def cancel_all(self) -> None:
        """The run goes on elsewhere, or not at all: its attempts should not."""
        for attempt in list(self._attempts.values()):
            self._hot.owner.executor.cancel(attempt)
        self.forget()

    def forget(self) -> None:
        self._attempts.clear()
        self._announced.clear()
        self._scheduling.clear()
        self.unrecorded.clear()

    # --- ending ------------------------------------------------------------------------------------------------------

    def _ended(self, attempt: Attempt, ending: Ending) -> None:
        hot, call = self._hot, attempt.call
        if hot.dropped or self._attempts.get(call.ref) is not attempt:
            return  # the result of another life, or of a run that has ended without it
        if hot.rebuilding:
            self._stash.append((attempt, ending))
            return
        del self._attempts[call.ref]
        item = hot.open.get(call.ref) if hot.listening else None
        if item is None or call.ref in hot.closed:
            return
        match ending:
            case Returned(result=result):
                event: ev.Event = completed(attempt, result)
            case Stopped(abandoned=abandoned):
                event = cancelled(call, attempt.number, "abandoned" if abandoned else "ended")
            case Raised():
                if item.cancelling:
                    event = cancelled(call, attempt.number, "ended")
                else:
                    item.overlapping = ending.overlapping
                    self._failed(attempt, ending)
                    return
            case _:
                assert_never(ending)
        self._hot.propose_end(event)

    def _failed(self, attempt: Attempt, raised: Raised) -> None:
        owner = self._hot.owner
        event = failed(attempt, raised, now=owner.clock.now(), chance=owner.chance())
        if isinstance(event, ev.StepFailed):
            self._hot.propose_end(event)
            return
        if self._hot.has_written(event.ref):
            self._hot.streams.void(event.ref)
        self._hot.propose(event)

    def _interrupted(self, command: CallStep, item: Open) -> None:
        """An ``at_most_once`` step began and its worker died: it is not run again (R10)."""
        error = StepInterrupted(f"{command.name} was running when its worker died; whether it acted is unknown")
        encoded = Raw(self._hot.codec.encode_exception(error))
        self._hot.propose_end(failed_for_good(command, encoded, item.attempt, self._hot.owner.clock.now()))


def _started(attempt: Attempt) -> ev.StepStarted:
    call = attempt.call
    return ev.StepStarted(ref=call.ref, name=call.name, digest=call.digest, attempt=attempt.number)


def completed(attempt: Attempt, result: Raw) -> ev.StepCompleted:
    call = attempt.call
    return ev.StepCompleted(
        ref=call.ref,
        name=call.name,
        digest=call.digest,
        input=call.input,
        result=result,
        attempt=attempt.number,
        started=attempt.started,
    )


def failed(attempt: Attempt, raised: Raised, *, now: float, chance: float) -> ev.StepFailed | ev.StepRetrying:
    """What becomes of a step whose attempt has raised."""
    call, pause = attempt.call, None
    if not raised.fatal:
        pause = next_delay(call.options.retry, attempt=attempt.number, retry_after=raised.retry_after, chance=chance)
    if pause is None:
        return failed_for_good(call, raised.encoded, attempt.number, attempt.started)
    return ev.StepRetrying(
        ref=call.ref,
        name=call.name,
        digest=call.digest,
        error=raised.encoded,
        attempt=attempt.number,
        started=attempt.started,
        at=now + pause,
    )


def failed_for_good(call: CallStep, error: Raw, attempt: int, started: float) -> ev.StepFailed:
    return ev.StepFailed(
        ref=call.ref,
        name=call.name,
        digest=call.digest,
        input=call.input,
        error=error,
        attempt=attempt,
        started=started,
    )


def cancelled(call: CallStep, attempt: int, outcome: ev.StepOutcome) -> ev.StepCancelled:
    return ev.StepCancelled(ref=call.ref, name=call.name, digest=call.digest, outcome=outcome, attempt=attempt)
