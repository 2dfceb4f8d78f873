"""Steps in queues, as the worker that takes them sees them: it runs them like its own, and says how they ended.

They belong to runs that it need not know. What it writes for one is fenced by its lease and by the task's own row; a step that ends goes
into the inbox of its run in the commit that gives the slot back.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Final, Protocol, assert_never

from msgspec import Raw

from outlive._codec import Codec
from outlive._core.registry import Registry
from outlive._runtime import steps
from outlive._runtime.attempts import Attempt, Ending, Kind, Raised, Returned, Stopped, kind_of
from outlive._runtime.executor import Executor
from outlive._runtime.journal import Journal
from outlive._runtime.lease import Lease
from outlive._runtime.streaming import Streams
from outlive._runtime.suspects import PROBATION, TRIAL, Suspects
from outlive._runtime.timers import Timers
from outlive.errors import StepError, StepInterrupted
from outlive.model import entries as en
from outlive.model import events as ev
from outlive.model.commands import CallStep
from outlive.model.ids import RunId
from outlive.model.streams import streams_of
from outlive.model.tasks import GIVEN_UP_AFTER, LONGEST_TRIAL, Lane, Wanted, alone, trial
from outlive.model.webhooks import Answer
from outlive.stores.protocol import Clock, Fence

log: Final = logging.getLogger("outlive.worker")


class Host(Protocol):
    """The worker."""

    journal: Journal
    executor: Executor
    clock: Clock

    @property
    def lease(self) -> Lease: ...

    timers: Timers
    suspects: Suspects

    @property
    def busy(self) -> bool: ...

    def chance(self) -> float: ...
    def poke(self) -> None: ...
    def told(self, runs: tuple[RunId, ...]) -> None: ...
    def news(self, about: tuple[str, ...]) -> None: ...


class Queues:
    """The tasks that this worker holds.

    Args:
        queues: That it serves; None: all.
        limits: How many steps of a queue it runs at once, where that is limited.
        rooms: How many it runs at once of each kind.
    """

    def __init__(
        self,
        host: Host,
        registry: Registry,
        codec: Codec,
        *,
        queues: Collection[str] | None,
        limits: Mapping[str, int],
        rooms: Mapping[Kind, int],
    ) -> None:
        self.host = host
        self.codec = codec
        self.queues: frozenset[str] | None = None if queues is None else frozenset(queues)
        self.held: dict[en.TaskKey, QueuedStep] = {}
        self._registry = registry
        self._limits = limits
        self._rooms = rooms
        self._turn = 0

    def wanted(self, *, patient: bool = True) -> Wanted:
        """What it would take now: nothing beside what is on trial. ``patient``: what has to be alone waits until no run is here."""
        now = self.host.clock.now()
        on_trial = self.host.suspects.trying(PROBATION) or any(task.tried_until > now for task in self.held.values())
        names: dict[Kind, list[str]] = {kind: [] for kind in self._rooms}
        for step in self._registry.steps.all():
            names[kind_of(step)].append(step.name)
        held = Counter(task.kind for task in self.held.values())
        by_queue = Counter(task.call.options.queue for task in self.held.values())
        self._turn += 1
        return Wanted(
            lanes=()
            if on_trial
            else tuple(Lane(frozenset(names[kind]), room - held[kind]) for kind, room in self._rooms.items()),
            queues=self.queues,
            rooms={queue: most - by_queue[queue] for queue, most in self._limits.items()},
            turn=self._turn,
            suspects=not self.host.suspects.trying(TRIAL),
            idle=self.settled and not (patient and self.host.busy),
        )

    def trying(self, within: float) -> bool:
        """Whether it may yet be a step, taken within so many seconds, that kills this worker: then no suspected run is taken."""
        since = self.host.clock.now() - within
        return any(task.deaths and task.taken_at > since for task in self.held.values())

    @property
    def settled(self) -> bool:
        """No task is here that was taken lately."""
        now = self.host.clock.now()
        return all(task.settled_at <= now for task in self.held.values())

    @property
    def isolating(self) -> bool:
        """A step is tried alone: no run is taken, so that it is known who did it if this worker dies now."""
        since = self.host.clock.now() - TRIAL
        return any(task.alone and task.taken_at > since for task in self.held.values())

    def take(self, claimed: en.ClaimedTask) -> None:
        """Run a task, or say at once how it has ended."""
        step = self._registry.steps.get(claimed.call.name)
        kind: Kind = "async" if step is None else kind_of(step)
        before = self.held.get(claimed.key)
        if before is not None:
            before.drop()  # its attempt has ended, or is another worker's by now, and this one does not know yet
        task = self.held[claimed.key] = QueuedStep(self, claimed, kind)
        call = claimed.call
        if task.deaths:
            self.host.timers.at(task.tried_until, self.host.poke)
            self.host.timers.at(task.taken_at + TRIAL, self.host.poke)
        if claimed.cancelling:
            task.end(steps.cancelled(task.call, call.attempt, "ended"))
        elif call.options.at_most_once and claimed.claims > 1:
            task.interrupted(f"{call.name} was running when its worker died; whether it acted is unknown")
        elif claimed.crashes >= GIVEN_UP_AFTER:
            task.interrupted(f"{claimed.crashes} times a worker died while only {call.name} could have done it")
        else:
            if claimed.claims > 1 or call.attempt > 1:
                task.streams.void(task.call.ref)  # an attempt before may have written
            self.host.executor.start(task.attempt)

    def cancel(self, key: en.TaskKey) -> None:
        """Its run has asked for its end."""
        task = self.held.get(key)
        if task is not None:
            self.host.executor.cancel(task.attempt)

    def drop(self) -> None:
        """They belong to other workers now."""
        for task in list(self.held.values()):
            task.drop()


class QueuedStep:
    """One task (journal.Source, executor.Writes)."""

    def __init__(self, queues: Queues, claimed: en.ClaimedTask, kind: Kind) -> None:
        call = claimed.call
        self.key = claimed.key
        self.kind: Kind = kind
        self.lease: Lease = queues.host.lease
        """Under which it was taken (executor.Writes)."""
        self.call: CallStep = CallStep(call.ref, call.name, call.digest, call.input, call.options)
        self.attempt: Attempt = Attempt(
            self.call,
            writes=self,
            run=claimed.key.run,
            link=claimed.key.link,
            number=call.attempt,
            overlapping=False,
            on_end=self._ended,
        )
        self.deaths: int = claimed.deaths
        self.taken_at: float = queues.host.clock.now()
        self.alone: bool = alone(claimed.deaths) and not queues.host.busy
        self._queues = queues
        self._journal = queues.host.journal
        self._streams: Streams | None = None
        self._ending: ev.StepEnding | None = None
        self._in_flight: en.TaskCommit | None = None
        self._dropped = False
        self._refused = False

    @property
    def tried_until(self) -> float:
        """Nothing is taken beside it before, if its workers have died."""
        return self.taken_at + trial(self.deaths)

    @property
    def settled_at(self) -> float:
        """It is in the way of one that has to be alone until then."""
        return self.tried_until if self.deaths else self.taken_at + LONGEST_TRIAL

    # --- executor.Writes ---

    def counts(self, attempt: Attempt) -> bool:
        return not self._dropped and self._ending is None and attempt is self.attempt

    @property
    def streams(self) -> Streams:
        if self._streams is None:
            self._streams = Streams(self)
        return self._streams

    @property
    def fence(self) -> Fence | None:
        return None  # a step in a transaction is in no queue

    async def respond(self, request: str, answer: Answer) -> bool:
        outcome = await self._journal.request(en.AnswerRequest(request, answer))
        self._queues.host.news((request,))
        return isinstance(outcome, en.Answered) and outcome.first

    # --- how it ends ---

    def _ended(self, attempt: Attempt, ending: Ending) -> None:
        if self._dropped:
            return
        host = self._queues.host
        match ending:
            case Returned(result=result):
                self.end(steps.completed(attempt, result))
            case Stopped(abandoned=abandoned):
                self.end(steps.cancelled(self.call, attempt.number, "abandoned" if abandoned else "ended"))
            case Raised():
                self.end(steps.failed(attempt, ending, now=host.clock.now(), chance=host.chance()))
            case _:
                assert_never(ending)

    def end(self, ending: ev.StepEnding) -> None:
        self._ending = ending
        self.touch()

    def interrupted(self, why: str) -> None:
        error = Raw(self._queues.codec.encode_exception(StepInterrupted(why)))
        now = self._queues.host.clock.now()
        self.end(steps.failed_for_good(self.call, error, self.attempt.number, now))

    def touch(self) -> None:
        """There is something to commit."""
        if not self._dropped:
            self._journal.touch(self)

    def drop(self) -> None:
        """It is this worker's no longer."""
        if not self._dropped:
            self._dropped = True
            self._let_go()
            self._journal.forget(self)
            self._queues.host.executor.cancel(self.attempt)
            if self._streams is not None:
                self._streams.forget()

    def _let_go(self) -> None:
        if self._queues.held.get(self.key) is self:
            del self._queues.held[self.key]

    # --- journal.Source ---

    def collect(self) -> tuple[en.TaskCommit, int] | None:
        streams = self._streams
        writes = streams.take() if streams is not None and streams.pending else ()
        if self._dropped or not (writes or self._ending):
            return None
        run, link, ref = self.key
        commit = en.TaskCommit(
            run=run, link=link, ref=ref, attempt=self.attempt.number, streams=writes, ending=self._ending
        )
        self._in_flight = commit
        return commit, _size(commit)

    def put_back(self) -> None:
        commit, self._in_flight = self._in_flight, None
        assert commit is not None, "a commit was put back that nobody collected"
        if commit.streams:
            self.streams.put_back(commit.streams)

    def settled(self, outcome: en.Outcome) -> None:
        commit, self._in_flight = self._in_flight, None
        if self._dropped or commit is None:
            return
        host = self._queues.host
        match outcome:
            case en.Accepted(run=run):
                if commit.streams:
                    self.streams.stand()
                    host.news((streams_of(run),))
                if commit.ending is not None:
                    self._dropped = True
                    self._let_go()
                    host.told((run,))
            case en.Rejected(reason=reason) if not self._refused:
                self._refused = True
                error = Raw(self._queues.codec.encode_exception(StepError(f"the store refused to write it: {reason}")))
                self.end(steps.failed_for_good(self.call, error, self.attempt.number, host.clock.now()))
            case _:
                log.warning(
                    "step %s of run %s belongs to another worker now: %s", self.call.name, self.key.run, outcome
                )
                self.drop()
                host.poke()

    def failed(self, error: Exception) -> None:
        log.critical("step %s of run %s is dropped", self.call.name, self.key.run, exc_info=error)
        self.drop()


def _size(commit: en.TaskCommit) -> int:
    ending = commit.ending
    if isinstance(ending, ev.StepCompleted):
        return 200 + len(memoryview(ending.input)) + len(memoryview(ending.result))
    return 200
