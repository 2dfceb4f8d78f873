"""Holding a log against the code that replays it.

Divergence is only this: an event for a ref that was never issued, or that was issued as something else (R3).
"""

from __future__ import annotations

from typing import NoReturn

from msgspec import Struct

from outlive._codec import digest
from outlive._core.signals import Diverged
from outlive.model import events as ev


class Issued(Struct, frozen=True, gc=False):
    """What the code asked for under a ref."""

    kind: str
    name: str
    digest: str
    where: str = ""
    """File and line, where it was traced."""


_STEPS = (ev.StepScheduled, ev.StepStarted, ev.StepCompleted, ev.StepFailed, ev.StepRetrying, ev.StepCancelled)
_HOOKS = (ev.HookReceived, ev.HookDisposed)


def check(issued: list[Issued], event: ev.Event, *, outcome: ev.RunOutcome | None, ended: bool) -> None:
    """Hold ``event`` against the command of its ref.

    Raises:
        Diverged: It can't have come from this code.
    """
    kind = type(event)
    if event.ref == 0:
        if kind in ev.TERMINAL and kind is not ev.RunTerminated:
            _check_end(event, outcome, ended=ended)
        return
    if event.ref > len(issued):
        if kind is ev.HookDiscarded:
            return  # for a token that this link held and never opened (R8)
        _diverged(event, None)
    command = issued[event.ref - 1]
    if kind in _STEPS:
        same = command.kind == "step" and command.name == event.name and command.digest == event.digest  # type: ignore[union-attr]
    elif kind is ev.WaitCreated or kind is ev.WaitCompleted:
        same = command.kind == event.kind and command.digest == repr(event.delay)  # type: ignore[union-attr]
    elif kind is ev.WaitCancelled:
        same = command.kind in ("sleep", "timer")
    elif kind is ev.HookCreated or kind is ev.HookConflict:
        same = command.kind == "hook" and command.digest == event.token_hash  # type: ignore[union-attr]
    elif kind in _HOOKS:
        same = command.kind == "hook"
    elif kind is ev.ChildStarted:
        same = command.kind == "child" and command.name == event.workflow and command.digest == event.digest  # type: ignore[union-attr]
    elif kind is ev.ChildCompleted:
        same = command.kind == "watch" and command.digest == event.run_id  # type: ignore[union-attr]
    elif kind is ev.CallCompleted or kind is ev.CallFailed:
        same = command.kind == "call" and command.name == event.name and command.digest == event.digest  # type: ignore[union-attr]
    else:
        same = True
    if not same:
        _diverged(event, command)


def _check_end(event: ev.Event, outcome: ev.RunOutcome | None, *, ended: bool) -> None:
    if not ended or outcome is None:
        raise Diverged(ref=0, recorded=f"{describe(event)} here", attempted="is still waiting")
    if type(event) is not type(outcome):
        raise Diverged(ref=0, recorded=describe(event), attempted=f"ended with {describe(outcome)}")
    match event, outcome:
        case ev.RunCompleted(result=recorded), ev.RunCompleted(result=attempted):
            _check_value("the result", bytes(recorded), "returned", bytes(attempted))
        case ev.RunContinued(input=recorded), ev.RunContinued(input=attempted):
            _check_value("continue_as_new with", bytes(recorded), "continues with", bytes(attempted))
        case _:
            pass


def _check_value(what: str, recorded: bytes, does: str, attempted: bytes) -> None:
    if recorded != attempted and digest(recorded) != digest(attempted):
        raise Diverged(ref=0, recorded=f"{what} {_short(recorded)}", attempted=f"{does} {_short(attempted)}")


def _diverged(event: ev.Event, command: Issued | None) -> NoReturn:
    if command is None:
        attempted = f"issued no command number {event.ref}"
    else:
        attempted = f"issued {describe_issued(command)}"
        if command.name and command.name == getattr(event, "name", None):
            attempted += " with other arguments"
    raise Diverged(ref=event.ref, recorded=f"{describe(event)} as command {event.ref}", attempted=attempted)


def describe_issued(command: Issued) -> str:
    match command.kind:
        case "sleep" | "timer":
            return f"a {command.kind} of {command.digest} s"
        case "hook" | "watch":
            return f"a {command.kind}"
        case kind:
            return f"{kind} {command.name!r}"


def describe(event: ev.Event) -> str:
    """``event`` in the words of a report."""
    match event:
        case ev.WaitCreated(kind=kind, delay=delay) | ev.WaitCompleted(kind=kind, delay=delay):
            return f"a {kind} of {delay!r} s"
        case ev.ChildStarted(workflow=workflow):
            return f"child {workflow!r}"
        case _:
            name = getattr(event, "name", "")
            return f"{ev.kind_of(event)} {name!r}" if name else ev.kind_of(event)


def _short(raw: bytes) -> str:
    text = raw.decode(errors="replace")
    return text if len(text) <= 80 else text[:77] + "..."
