"""The smallest runtime there can be: it plays a whole run around a machine, in virtual time, without a store.

The next event is a pure function of the log so far and of the :class:`World`. So a run must come to the same log whether its
coroutine stayed in memory all the time (*hot*), was rebuilt from the log before each event (*evicted*), or was lost after any
event (*crashed*). :func:`simulate` plays all three and holds them against each other, event by event and life by life.
"""

from __future__ import annotations

import contextvars
import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import msgspec
from msgspec import Raw

from outlive._core import payloads
from outlive._core.dropping import drop, graveyard
from outlive._core.guard import Guard
from outlive._core.pending import Open
from outlive._core.registry import registry
from outlive.model import commands as cmd
from outlive.model import events as ev
from outlive.model.audit import log_faults
from outlive.model.events import Event, Recorded, encode_event
from outlive.model.ids import RunId
from tests.core.story import CODEC, SEED, START, UNWATCHED, Body, as_workflow, build, called, created, encoded, stored

MAX_EVENTS = 2_000
_ENCODER = msgspec.json.Encoder(enc_hook=repr)

Took: TypeAlias = Callable[[str, Mapping[str, Any]], float]
Fact: TypeAlias = "tuple[float, int, int, Callable[[], Event]]"
"""When, and in which order among what is due at the same time; what it is is found out when its turn comes."""


def seconds_of(_name: str, arguments: Mapping[str, Any]) -> float:
    """A step takes as long as its argument ``seconds`` says."""
    return float(arguments.get("seconds", 1.0))


@dataclass(frozen=True)
class World:
    """What happens outside the run. Times are seconds from its start."""

    took: Took = seconds_of
    """How long a step takes, by its short name and arguments."""
    lingers: float = 0.0
    """How long a cancelled step goes on, unless it completes before that (R6)."""
    payloads: Sequence[tuple[float, object] | tuple[float, object, int]] = ()
    """When, what, and to which of the run's hooks, counted from 1."""
    cancels: Sequence[float] = ()
    runs: Mapping[str, tuple[float, object]] = field(default_factory=dict)
    """Other runs: when they end, and with which result or exception."""
    taken: Mapping[str, str] = field(default_factory=dict)
    """Tokens that other runs hold."""


class Life:
    """A machine, and when it asked for what."""

    def __init__(self, play: Play, log: Sequence[Recorded]) -> None:
        markers = frozenset(recorded.event.id for recorded in log if isinstance(recorded.event, ev.Marker))
        self.machine = build(play.body, play.created, guard=play.guard, markers=markers)
        self.asked: dict[int, float] = {}
        self.withdrawn: dict[int, float] = {}
        self.markers: list[str] = []
        self.lines: list[str] = []
        for recorded in log:
            self.apply(recorded, replaying=True)

    def apply(self, recorded: Recorded, *, replaying: bool) -> None:
        commands = self.machine.activate(recorded, replaying=replaying)
        for command in commands:
            match command:
                case cmd.EmitLog(record=record):
                    assert not replaying, "a log line came out of a replay"
                    self.lines.append(record.getMessage())
                case cmd.SetMarker(id=patch):
                    assert not replaying, "a marker came out of a replay"
                    self.markers.append(patch)
                case cmd.CancelStep(ref=ref) | cmd.CancelWait(ref=ref) | cmd.DisposeHook(ref=ref):
                    self.withdrawn[ref] = recorded.time
                case cmd.UnwatchRun():
                    pass
                case cmd.EndRun():
                    assert command is commands[-1], "something came out after the end"
                case _:
                    assert command.ref not in self.asked, f"ref {command.ref} was given twice"
                    self.asked[command.ref] = recorded.time
        if isinstance(recorded.event, ev.Marker) and not replaying:
            self.markers.remove(recorded.event.id)

    def state(self) -> list[str]:
        """All that a driver relies on, which must not depend on how the machine came to be."""
        machine = self.machine
        opened = [
            f"{ref}: {_ENCODER.encode(item.command).decode()} cancelling={item.cancelling} withdrawn={item.withdrawn}"
            f" recorded={item.recorded} attempt={item.attempt} retry_at={item.retry_at}"
            for ref, item in machine.open.items()
            if not _traceless(item)
        ]
        outcome = None if machine.outcome is None else encode_event(machine.outcome)
        return [*opened, *map(str, machine.issued), f"time {machine.loop.time()}", f"{machine.ended} {outcome}"]

    def drop(self) -> None:
        buried = len(graveyard)
        self.machine._out.clear()
        drop(self.machine)
        assert self.machine._out == [], "a dropped run asked for something (R24)"
        assert len(graveyard) == buried, "a coroutine would not close"


@dataclass
class Played:
    """How a run went."""

    log: list[Recorded]
    outcome: ev.RunOutcome | None
    """None: it waits for what will never come."""
    ran: list[tuple[int, str, dict[str, Any]]]
    """Steps that were run: ref, short name, arguments."""
    lines: list[str]
    steps: int

    @property
    def result(self) -> Any:
        assert isinstance(self.outcome, ev.RunCompleted), f"the run did not complete: {self.failure!r}"
        return CODEC.decode(self.outcome.result)

    @property
    def failure(self) -> BaseException | ev.RunOutcome | None:
        return CODEC.decode_exception(self.outcome.error) if isinstance(self.outcome, ev.RunFailed) else self.outcome

    @property
    def told(self) -> list[str]:
        """The log in short: kind, ref and name."""
        return [tell(recorded.event) for recorded in self.log]

    @property
    def took(self) -> float:
        return self.log[-1].time - START


def tell(event: Event) -> str:
    return " ".join(word for word in (ev.kind_of(event), str(event.ref or ""), called(event)) if word)


class Play:
    """One run in one world."""

    def __init__(self, body: Body, args: tuple[object, ...], world: World, *, guard: Guard, seed: str) -> None:
        self.body = as_workflow(body)
        self.world = world
        self.guard = guard
        self.created = created(self.body, args, {}, seed=seed)
        self.beginning = [Recorded(1, START, stored(self.created)), Recorded(2, START, stored(ev.RunStarted()))]

    def go_on(
        self, log: list[Recorded], *, evict: bool = False, collect: bool = False
    ) -> tuple[Played, list[list[str]]]:
        """Play from the end of ``log`` to the end; give the state at each event too."""
        log = list(log)
        states: list[list[str]] = []
        ran: list[tuple[int, str, dict[str, Any]]] = []
        lines: list[str] = []
        fresh = len(log) == len(self.beginning)
        life = Life(self, log[:-1] if fresh else log)
        if fresh:
            life.apply(log[-1], replaying=False)
        while not life.machine.ended:
            states.append(life.state())
            if evict and not life.markers:
                lines += life.lines
                life.drop()
                life = Life(self, log)
                assert life.state() == states[-1], "the run came back as another one"
            if collect:
                gc.collect()
            fact = min(self._facts(life, log, ran), default=None, key=lambda fact: fact[:3])
            if fact is None:
                break
            time, _, _, make = fact
            recorded = Recorded(len(log) + 1, max(log[-1].time, time), stored(make()))
            log.append(recorded)
            life.apply(recorded, replaying=False)
            assert len(log) < MAX_EVENTS, "the run does not end"
        steps = len(log)
        outcome = life.machine.outcome if life.machine.ended else None
        states.append(life.state())
        if outcome is not None:
            self._end(life, outcome, log)
        lines += life.lines
        life.drop()
        return Played(log, outcome, ran, lines, steps), states

    def _end(self, life: Life, outcome: ev.RunOutcome, log: list[Recorded]) -> None:
        """The last commit (R5)."""
        lost = [
            ev.StepCancelled(ref=ref, name=item.command.name, digest=item.command.digest, outcome="unknown")
            for ref, item in life.machine.open.items()
            if isinstance(item.command, cmd.CallStep)
        ]
        for event in (*(ev.Marker(id=patch) for patch in life.markers), *lost, outcome):
            log.append(Recorded(len(log) + 1, log[-1].time, stored(event)))

    # --- what happens next -------------------------------------------------------------------------------------------

    def _facts(self, life: Life, log: list[Recorded], ran: list[tuple[int, str, dict[str, Any]]]) -> Iterator[Fact]:
        for patch in life.markers:
            yield log[-1].time, -1, 0, lambda patch=patch: ev.Marker(id=patch)
        for ref, item in list(life.machine.open.items()):
            at = life.asked[ref]
            command = item.command
            match command:
                case cmd.CallStep():
                    yield self._step(command, at, life.withdrawn.get(ref), ran)
                case cmd.StartWait(kind=kind, delay=delay, due=due):
                    if _traceless(item):
                        del life.machine.open[ref]
                    elif item.withdrawn:
                        yield life.withdrawn[ref], 1, ref, lambda ref=ref: ev.WaitCancelled(ref=ref)
                    elif item.recorded is None:
                        made = ev.WaitCreated(ref=ref, kind=kind, delay=delay, due=due)
                        yield at, 0, ref, lambda made=made: made
                    else:
                        over = ev.WaitCompleted(ref=ref, kind=kind, delay=delay, due=due)
                        yield due, 3, ref, lambda over=over: over
                case cmd.OpenHook():
                    if item.recorded is None:
                        opened = self._opened(command)
                        yield at, 0, ref, lambda opened=opened: opened
                    elif item.withdrawn:
                        yield life.withdrawn[ref], 1, ref, lambda ref=ref: ev.HookDisposed(ref=ref)
                case cmd.StartChild():
                    started = ev.ChildStarted(
                        ref=ref, run_id=command.run_id, workflow=command.workflow, digest=command.digest
                    )
                    yield at, 0, ref, lambda started=started: started
                case cmd.WatchRun(run_id=run):
                    if run in self.world.runs:
                        ended_at, result = self.world.runs[run]
                        ended = _child_completed(ref, run, result)
                        yield max(at, START + ended_at), 2, ref, lambda ended=ended: ended
                case cmd.SendToHook(digest=digest):
                    sent = ev.CallCompleted(ref=ref, name="resume_hook", digest=digest)
                    yield at, 0, ref, lambda sent=sent: sent
                case cmd.CancelOther(digest=digest):
                    asked = ev.CallCompleted(ref=ref, name="cancel", digest=digest, result=encoded(True))
                    yield at, 0, ref, lambda asked=asked: asked
                case _:
                    raise AssertionError(f"{command} can't be open")
        yield from self._messages(life, log)

    def _step(
        self, call: cmd.CallStep, at: float, cancelled: float | None, ran: list[tuple[int, str, dict[str, Any]]]
    ) -> Fact:
        arguments = cast("dict[str, Any]", CODEC.decode(call.input))
        due = at + self.world.took(called(call), arguments)

        def run() -> Event:
            ran.append((call.ref, called(call), arguments))
            same = {"ref": call.ref, "name": call.name, "digest": call.digest, "started": at}
            try:
                result = encoded(_run(call))
            except Exception as error:
                return ev.StepFailed(error=Raw(CODEC.encode_exception(error)), **cast("Any", same))
            return ev.StepCompleted(result=result, input=call.input, **cast("Any", same))

        def stop() -> Event:
            how = "not_started" if cancelled == at else "ended"
            return ev.StepCancelled(ref=call.ref, name=call.name, digest=call.digest, outcome=how)

        if cancelled is None:
            return due, 3, call.ref, run
        if cancelled == at:
            return cancelled, 1, call.ref, stop
        if due <= cancelled + self.world.lingers:
            return due, 3, call.ref, run  # it completed meanwhile
        return cancelled + self.world.lingers, 3, call.ref, stop

    def _opened(self, command: cmd.OpenHook) -> Event:
        holder = self.world.taken.get(command.token)
        if holder is not None:
            return ev.HookConflict(ref=command.ref, token_hash=command.token_hash, run_id=RunId(holder))
        return ev.HookCreated(
            ref=command.ref, token_hash=command.token_hash, token=command.token, schema=command.schema
        )

    def _messages(self, life: Life, log: list[Recorded]) -> Iterator[Fact]:
        hooks = [ref for ref, issued in enumerate(life.machine.issued, start=1) if issued.kind == "hook"]
        received: dict[int, int] = {}
        for recorded in log:
            if isinstance(recorded.event, ev.HookReceived):
                received[recorded.event.ref] = received.get(recorded.event.ref, 0) + 1
        waiting: dict[int, int] = {}
        for place, (at, value, *which) in enumerate(self.world.payloads):
            number = which[0] if which else 1
            if number > len(hooks):
                continue
            ref = hooks[number - 1]
            nth = waiting[ref] = waiting.get(ref, 0) + 1
            item = life.machine.open.get(ref)
            if nth <= received.get(ref, 0) or item is None or item.withdrawn or item.recorded is None:
                continue
            payload = value if isinstance(value, ev.Payload) else payloads.write(value, CODEC)
            event = ev.HookReceived(ref=ref, payload=payload, accepted=START + at)
            yield max(START + at, life.asked[ref]), 2, place, lambda event=event: event
        asked = sum(isinstance(recorded.event, ev.CancelRequested) for recorded in log)
        for at in self.world.cancels[asked:]:
            yield START + at, 2, -1, ev.CancelRequested


def _traceless(item: Open) -> bool:
    """A wait that was cancelled before it was recorded (R16)."""
    return isinstance(item.command, cmd.StartWait) and item.withdrawn and item.recorded is None


def _run(call: cmd.CallStep) -> object:
    """The step's function, which does not really wait."""
    step = registry.step(call.name)
    arguments = call.arguments if call.arguments is not None else CODEC.decode(call.input)
    args, kwargs = step.binder.spread(cast("dict[str, object]", arguments))
    result = contextvars.Context().run(step.fn, *args, **kwargs)
    if not step.is_async:
        return result
    try:
        result.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError(f"step {call.name} waits for something real")


def _child_completed(ref: int, run: RunId, result: object) -> ev.ChildCompleted:
    if isinstance(result, BaseException):
        error = Raw(CODEC.encode_exception(result))
        return ev.ChildCompleted(ref=ref, run_id=run, status="failed", outcome=error)
    return ev.ChildCompleted(ref=ref, run_id=run, status="completed", outcome=encoded(result))


def play_hot(body: Body, *args: object, world: World | None = None, guard: Guard = UNWATCHED) -> Played:
    """Only the ordinary way."""
    play = Play(body, args, world or World(), guard=guard, seed=SEED)
    return play.go_on(play.beginning)[0]


def simulate(
    body: Body,
    *args: object,
    world: World | None = None,
    guard: Guard = UNWATCHED,
    seed: str = SEED,
    collect: bool = False,
) -> Played:
    """Play ``body`` hot, evicted at each event, and crashed after each event; all three must be one and the same."""
    play = Play(body, args, world or World(), guard=guard, seed=seed)
    hot, states = play.go_on(play.beginning, collect=collect)
    assert list(log_faults(hot.log)) == []
    evicted, _ = play.go_on(play.beginning, evict=True, collect=collect)
    _same(hot, evicted, "evicted at each event")
    first = len(play.beginning)
    for cut in range(first, hot.steps + 1):
        if cut < len(hot.log) and isinstance(hot.log[cut].event, ev.Marker):
            continue  # a patch whose marker was lost is a patch that was not there (R38)
        crashed, after = play.go_on(hot.log[:cut])
        _same(hot, crashed, f"crashed after event {cut}")
        assert after[0] == states[cut - first], f"crashed after event {cut}, it came back as another one"
    if hot.outcome is not None:
        whole = Life(play, hot.log)
        assert whole.machine.ended, "replayed from its whole log it did not end"
        whole.drop()
    return hot


def _same(one: Played, other: Played, how: str) -> None:
    assert _lines(other.log) == _lines(one.log), how


def _lines(log: list[Recorded]) -> list[str]:
    return [f"{recorded.seq} {recorded.time - START:g} {encode_event(recorded.event)}" for recorded in log]
