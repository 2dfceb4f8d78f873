"""A recorded run held against today's code: nothing is executed, nothing is written."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, cast

from msgspec import Struct, structs

from outlive._codec import Codec
from outlive._core.authoring import Workflow
from outlive._core.dropping import drop
from outlive._core.guard import Guard
from outlive._core.machine import Machine, NeverIdle
from outlive._core.matching import Issued
from outlive._core.pending import Open
from outlive._core.signals import Discarded, Diverged, Undecodable
from outlive._runtime.reports import call_site, line_of, origins_known, suspicions
from outlive.errors import SerializationError
from outlive.model import commands as cmd
from outlive.model import events as ev
from outlive.model.ids import RunId


class Pending(Struct, frozen=True, kw_only=True):
    """A command that the log leaves open: what the run would go on with."""

    ref: int
    what: str
    where: str
    due: float | None = None


class Divergence(Struct, frozen=True, kw_only=True):
    """Where and how code and log disagree."""

    reason: str
    seq: int
    """The first event that does not fit."""
    ref: int = 0
    recorded: str = ""
    attempted: str = ""
    where: str = ""
    notes: tuple[str, ...] = ()


class Verdict(Struct, frozen=True, kw_only=True):
    """What came of a replay."""

    events: int
    """Replayed in full."""
    ended: bool
    """The body came to its end."""
    pending: tuple[Pending, ...] = ()
    divergence: Divergence | None = None
    error: BaseException | None = None
    """With which the body ended, under today's code."""


def replay(
    log: Sequence[ev.Recorded],
    *,
    run: RunId,
    link: int,
    workflow: Workflow[..., Any],
    codec: Codec,
    guard: Guard,
    make_handle: Callable[[RunId], object],
    on_command: Callable[[int], None] | None = None,
    find_function: Callable[[str], object] = lambda _name: None,
) -> Verdict:
    """Replay ``log``, the whole one of a link, against ``workflow`` as it is now.

    Args:
        log: All events of the link.
        run: Whose they are.
        link: Which of its links.
        workflow: Today's code.
        codec: Knows the types of the run's values.
        guard: Strict, so that what the code reads of the world shows.
        make_handle: A handle for a run by its id.
        find_function: Gives the verifier of a webhook by its name.
        on_command: Called with the ref of each command as the body issues it, on the body's own stack.
    """
    created = log[0].event
    assert isinstance(created, ev.RunCreated), "a log begins with run_created"

    def trace() -> str:
        if on_command is not None:
            on_command(len(machine.issued) + 1)
        return call_site()

    machine = Machine(
        run=run,
        link=link,
        created=created,
        body=cast("Callable[[dict[str, object]], Coroutine[Any, Any, object]]", workflow.body),
        bind=workflow.binder.bind,
        codec=codec,
        guard=guard,
        markers=frozenset(item.event.id for item in log if type(item.event) is ev.Marker),
        recorded=highest_ref(log),
        trace=trace,
        make_handle=make_handle,
        webhook_bases=webhook_bases(log),
        find_function=find_function,
    )
    replayed = 0
    try:
        with origins_known():
            for recorded in log:
                machine.activate(recorded, replaying=True)
                replayed += 1
    except (Diverged, Undecodable, NeverIdle, Discarded) as error:
        _raise_interrupt(error)
        divergence = _divergence(error, machine, created, log[replayed])
        return Verdict(events=replayed, ended=machine.ended, divergence=divergence, error=_error_of(machine, codec))
    else:
        return Verdict(events=replayed, ended=machine.ended, pending=_pending(machine), error=_error_of(machine, codec))
    finally:
        drop(machine)


def highest_ref(log: Sequence[ev.Recorded]) -> float:
    """How far a log records what its body asked for; a run that has ended has recorded all of it."""
    return math.inf if type(log[-1].event) in ev.TERMINAL else max(recorded.event.ref for recorded in log)


def webhook_bases(log: Sequence[ev.Recorded]) -> dict[int, str]:
    """What the URLs of a log's webhooks begin with, by ref: they were given away, and must not change."""
    return {
        recorded.event.ref: recorded.event.webhook.base_url
        for recorded in log
        if type(recorded.event) is ev.HookCreated and recorded.event.webhook is not None
    }


def _raise_interrupt(error: BaseException) -> None:
    """Ctrl-C in a body arrives as the cause of a discarded activation."""
    if isinstance(error.__cause__, KeyboardInterrupt):
        raise error.__cause__


def _divergence(error: BaseException, machine: Machine, created: ev.RunCreated, event: ev.Recorded) -> Divergence:
    found = Divergence(reason=str(error), seq=event.seq, notes=tuple(suspicions(created)))
    match error:
        case Diverged(ref=ref, recorded=recorded, attempted=attempted):
            return structs.replace(
                found,
                reason="code and log disagree",
                ref=ref,
                recorded=recorded,
                attempted=f"the code {attempted}",
                where=line_of(machine, error),
            )
        case Undecodable():
            return structs.replace(found, reason=f"a recorded value can't be decoded: {error}")
        case NeverIdle():
            return structs.replace(found, reason="the body never comes to rest: is there a loop around sleep(0)?")
        case _:
            return found


def _error_of(machine: Machine, codec: Codec) -> BaseException | None:
    outcome = machine.outcome
    if not isinstance(outcome, ev.RunFailed):
        return None
    try:
        return codec.decode_exception(outcome.error)
    except SerializationError as error:
        return error


def _pending(machine: Machine) -> tuple[Pending, ...]:
    return tuple(
        pending
        for ref, item in sorted(machine.open.items())
        if not item.withdrawn and (pending := _describe(ref, item, machine.issued[ref - 1])) is not None
    )


def _describe(ref: int, item: Open, issued: Issued) -> Pending | None:
    match item.command:
        case cmd.CallStep(name=name):
            again = f", attempt {item.attempt}" if item.attempt > 1 else ""
            return Pending(ref=ref, what=f"step {name!r}{again}", where=issued.where, due=item.retry_at)
        case cmd.StartWait(kind=kind, due=due):
            return Pending(ref=ref, what=kind, where=issued.where, due=due if item.recorded is None else item.recorded)
        case cmd.OpenHook():
            return Pending(ref=ref, what="hook", where=issued.where)
        case cmd.WatchRun(run_id=target):
            return Pending(ref=ref, what=f"the result of run {target}", where=issued.where)
        case cmd.StartChild(workflow=name):
            return Pending(ref=ref, what=f"start of child {name!r}", where=issued.where)
        case cmd.SendToHook() | cmd.CancelOther():
            return Pending(ref=ref, what=f"call {issued.name!r}", where=issued.where)
        case _:
            return None
