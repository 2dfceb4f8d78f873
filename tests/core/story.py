"""Given a log, when activated, then these commands: the words in which tests of the core are told.

Example::

    story = replay(buy, 42).given(run_started()).when(step_completed("charge", "ok"))
    assert story.commands == [EndRun(completed("ok"))]

A telling (``step_completed("charge", "ok")``) leaves out what the story knows: refs, digests, due times. It is about the oldest
command of that name that is still open, unless it says which with ``ref=``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine
from typing import Any, Self, TypeAlias, TypeVar, cast

from msgspec import Raw

from outlive._codec import Codec
from outlive._core import payloads
from outlive._core.authoring import Workflow
from outlive._core.binding import Binder
from outlive._core.dropping import drop
from outlive._core.guard import Guard, GuardMode
from outlive._core.machine import Machine
from outlive._core.registry import registry
from outlive.model import commands as cmd
from outlive.model import events as ev
from outlive.model.events import Event, Recorded, decode_event, encode_event
from outlive.model.ids import RunId

C = TypeVar("C")

START = 1_800_000_000.0
"""When every story begins."""
SEED = "5eed" * 16
CODEC = Codec(registry.types)
UNWATCHED = Guard(GuardMode.OFF)

Body: TypeAlias = Workflow[..., Any] | Callable[..., Coroutine[Any, Any, Any]]
Telling: TypeAlias = Callable[["Story"], Event]


def as_workflow(body: Body) -> Workflow[..., Any]:
    """``body`` as a workflow that nobody else can find."""
    return body if isinstance(body, Workflow) else Workflow(body, name=body.__qualname__, binder=Binder(body))


def created(body: Body, args: tuple[object, ...], kwargs: dict[str, object], *, seed: str = SEED) -> ev.RunCreated:
    workflow = as_workflow(body)
    return ev.RunCreated(
        workflow=workflow.name,
        input=encoded(workflow.binder.bind(args, kwargs)),
        seed=seed,
        engine=1,
        python="3.11",
        hash_seed="",
    )


def build(
    body: Body,
    created: ev.RunCreated,
    *,
    guard: Guard = UNWATCHED,
    markers: frozenset[str] = frozenset(),
    recorded: float = math.inf,
    link: int = 1,
    run: str = "story",
) -> Machine:
    """A machine at the beginning of its log."""
    workflow = as_workflow(body)
    return Machine(
        run=RunId(run),
        link=link,
        created=created,
        body=workflow.body,
        bind=workflow.binder.bind,
        codec=CODEC,
        guard=guard,
        markers=markers,
        recorded=recorded,
        trace=None,
    )


_alive: list[Machine] = []


def drop_all() -> None:
    """End what tests have begun, so that no coroutine is left to the collector."""
    for machine in _alive:
        drop(machine)
    _alive.clear()


def stored(event: Event) -> Event:
    """``event`` as a store gives it back."""
    return decode_event(encode_event(event))


class Story:
    """One life of a run, told event by event."""

    def __init__(
        self,
        body: Body,
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
        *,
        seed: str = SEED,
        guard: Guard = UNWATCHED,
        markers: frozenset[str] = frozenset(),
        recorded: float = math.inf,
        link: int = 1,
    ) -> None:
        first = created(body, args, kwargs or {}, seed=seed)
        self.machine = build(body, first, guard=guard, markers=markers, recorded=recorded, link=link)
        _alive.append(self.machine)
        self.time = START
        self.log: list[Recorded] = []
        self.commands: list[cmd.Command] = []
        """What the last ``when`` or ``given`` brought out."""
        self._tell([first], replaying=True)

    def given(self, *tellings: Telling | Event | Recorded) -> Self:
        """These are in the log: replay them."""
        self._tell(tellings, replaying=True)
        return self

    def when(self, *tellings: Telling | Event | Recorded) -> Self:
        """These happen now."""
        self._tell(tellings, replaying=False)
        return self

    def _tell(self, tellings: tuple[Telling | Event | Recorded, ...] | list[Event], *, replaying: bool) -> None:
        self.commands = []
        for telling in tellings:
            recorded = telling if isinstance(telling, Recorded) else self._record(telling)
            self.time = max(self.time, recorded.time)
            self.log.append(recorded)
            self.commands += self.machine.activate(recorded, replaying=replaying)

    def _record(self, telling: Telling | Event) -> Recorded:
        event = stored(telling if isinstance(telling, ev._Event) else cast("Telling", telling)(self))
        due = event.due if isinstance(event, ev.WaitCompleted) and not event.woken else 0.0
        return Recorded(len(self.log) + 1, max(self.time, due), event)

    def later(self, seconds: float) -> Self:
        """Time passes before what comes next."""
        self.time += seconds
        return self

    def drop(self) -> Self:
        drop(self.machine)
        return self

    # --- what came of it ---------------------------------------------------------------------------------------------

    @property
    def open(self) -> list[cmd.Command]:
        """What was asked for and has not ended."""
        return [item.command for item in self.machine.open.values()]

    @property
    def outcome(self) -> ev.RunOutcome | None:
        """How the run ended; None if it goes on."""
        return self.machine.outcome if self.machine.ended else None

    @property
    def result(self) -> object:
        """What the workflow returned."""
        assert isinstance(self.outcome, ev.RunCompleted), f"the run did not complete: {self.failure!r}"
        return CODEC.decode(self.outcome.result)

    @property
    def failure(self) -> BaseException | ev.RunOutcome | None:
        """What the workflow raised."""
        return CODEC.decode_exception(self.outcome.error) if isinstance(self.outcome, ev.RunFailed) else self.outcome

    def asked(self, kind: type[C]) -> list[C]:
        """Those of the last commands."""
        return [command for command in self.commands if isinstance(command, kind)]

    def command(self, ref: int) -> cmd.Command:
        return self.machine.open[ref].command

    def find(self, kind: type[C], name: str | None, ref: int | None) -> C:
        """The command that a telling is about."""
        if ref is not None:
            found = self.machine.open[ref].command
            assert isinstance(found, kind), f"ref {ref} is {found}"
            return found
        for command in self.open:
            if isinstance(command, kind) and (name is None or called(command) == name):
                return command
        raise AssertionError(f"no {kind.__name__} {name or ''} is open, but {self.open}")


def begin(body: Body, *args: object, **kwargs: object) -> Story:
    """A run that starts now."""
    return Story(body, args, kwargs).when(ev.RunStarted())


def replay(body: Body, *args: object, **kwargs: object) -> Story:
    """A run whose log is about to be given."""
    return Story(body, args, kwargs)


def called(command: object) -> str:
    """The last part of a command's name: ``charge`` of ``shop.orders:charge``."""
    return str(getattr(command, "name", getattr(command, "workflow", ""))).rpartition(":")[2].rpartition(".")[2]


def names(commands: list[cmd.Command]) -> list[str]:
    """Commands in short: ``CallStep charge``."""
    return [f"{type(command).__name__} {called(command)}".strip() for command in commands]


# --- values ----------------------------------------------------------------------------------------------------------


def encoded(value: object) -> Raw:
    return Raw(CODEC.encode(value))


def decoded(raw: Raw) -> object:
    return CODEC.decode(raw)


def completed(value: object = None) -> ev.RunCompleted:
    return ev.RunCompleted(result=encoded(value))


def given_to(command: cmd.CallStep) -> object:
    """The arguments of a step, as its function gets them."""
    return decoded(command.input)


# --- tellings --------------------------------------------------------------------------------------------------------


def run_started() -> Event:
    return ev.RunStarted()


def cancel_requested() -> Event:
    return ev.CancelRequested()


def step_started(name: str | None = None, *, ref: int | None = None, attempt: int = 1) -> Telling:
    def tell(story: Story) -> Event:
        call = story.find(cmd.CallStep, name, ref)
        return ev.StepStarted(ref=call.ref, name=call.name, digest=call.digest, attempt=attempt)

    return tell


def step_completed(name: str | None = None, result: object = None, *, ref: int | None = None) -> Telling:
    def tell(story: Story) -> Event:
        call = story.find(cmd.CallStep, name, ref)
        return ev.StepCompleted(
            ref=call.ref,
            name=call.name,
            digest=call.digest,
            result=encoded(result),
            started=story.time,
            input=call.input,
        )

    return tell


def step_failed(name: str | None = None, error: BaseException | None = None, *, ref: int | None = None) -> Telling:
    def tell(story: Story) -> Event:
        call = story.find(cmd.CallStep, name, ref)
        raw = Raw(CODEC.encode_exception(error or ValueError("no")))
        return ev.StepFailed(ref=call.ref, name=call.name, digest=call.digest, error=raw, started=story.time)

    return tell


def step_retrying(name: str | None = None, *, ref: int | None = None, attempt: int = 1, after: float = 1.0) -> Telling:
    def tell(story: Story) -> Event:
        call = story.find(cmd.CallStep, name, ref)
        return ev.StepRetrying(
            ref=call.ref,
            name=call.name,
            digest=call.digest,
            error=Raw(CODEC.encode_exception(ValueError("not yet"))),
            started=story.time,
            at=story.time + after,
            attempt=attempt,
        )

    return tell


def step_cancelled(name: str | None = None, *, ref: int | None = None) -> Telling:
    def tell(story: Story) -> Event:
        call = story.find(cmd.CallStep, name, ref)
        return ev.StepCancelled(ref=call.ref, name=call.name, digest=call.digest, outcome="ended")

    return tell


def wait_created(*, ref: int | None = None, later: float = 0.0) -> Telling:
    def tell(story: Story) -> Event:
        wait = story.find(cmd.StartWait, None, ref)
        return ev.WaitCreated(ref=wait.ref, kind=wait.kind, delay=wait.delay, due=wait.due + later)

    return tell


def wait_completed(*, ref: int | None = None, woken: bool = False) -> Telling:
    def tell(story: Story) -> Event:
        wait = story.find(cmd.StartWait, None, ref)
        return ev.WaitCompleted(ref=wait.ref, kind=wait.kind, delay=wait.delay, due=wait.due, woken=woken)

    return tell


def wait_cancelled(*, ref: int | None = None) -> Telling:
    return lambda story: ev.WaitCancelled(ref=story.find(cmd.StartWait, None, ref).ref)


def hook_created(*, ref: int | None = None) -> Telling:
    def tell(story: Story) -> Event:
        hook = story.find(cmd.OpenHook, None, ref)
        return ev.HookCreated(ref=hook.ref, token_hash=hook.token_hash, token=hook.token, schema=hook.schema)

    return tell


def hook_conflict(holder: str, *, ref: int | None = None) -> Telling:
    def tell(story: Story) -> Event:
        hook = story.find(cmd.OpenHook, None, ref)
        return ev.HookConflict(ref=hook.ref, token_hash=hook.token_hash, run_id=RunId(holder))

    return tell


def hook_received(value: object, *, ref: int | None = None) -> Telling:
    return payload_received(payloads.write(value, CODEC), ref=ref)


def payload_received(payload: ev.Payload, *, ref: int | None = None) -> Telling:
    def tell(story: Story) -> Event:
        hook = story.find(cmd.OpenHook, None, ref)
        return ev.HookReceived(ref=hook.ref, payload=payload, accepted=story.time)

    return tell


def hook_disposed(*, ref: int | None = None) -> Telling:
    return lambda story: ev.HookDisposed(ref=story.find(cmd.OpenHook, None, ref).ref)


def child_started(*, ref: int | None = None, conflict: bool = False) -> Telling:
    def tell(story: Story) -> Event:
        child = story.find(cmd.StartChild, None, ref)
        return ev.ChildStarted(
            ref=child.ref, run_id=child.run_id, workflow=child.workflow, digest=child.digest, conflict=conflict
        )

    return tell


def child_completed(value: object = None, *, ref: int | None = None, **how: Any) -> Telling:
    """The run that is watched has ended; ``status=`` and ``outcome=`` say how if not well."""

    def tell(story: Story) -> Event:
        watch = story.find(cmd.WatchRun, None, ref)
        return ev.ChildCompleted(
            ref=watch.ref, run_id=watch.run_id, **{"status": "completed", "outcome": encoded(value), **how}
        )

    return tell


def call_completed(result: object = None, *, ref: int | None = None) -> Telling:
    def tell(story: Story) -> Event:
        call = story.find(cast("Any", cmd.SendToHook | cmd.CancelOther), None, ref)
        name = "resume_hook" if isinstance(call, cmd.SendToHook) else "cancel"
        return ev.CallCompleted(ref=call.ref, name=name, digest=call.digest, result=encoded(result))

    return tell


def call_failed(reason: str, *, ref: int | None = None) -> Telling:
    def tell(story: Story) -> Event:
        call = story.find(cast("Any", cmd.SendToHook | cmd.CancelOther), None, ref)
        name = "resume_hook" if isinstance(call, cmd.SendToHook) else "cancel"
        return ev.CallFailed(ref=call.ref, name=name, digest=call.digest, reason=reason)

    return tell
