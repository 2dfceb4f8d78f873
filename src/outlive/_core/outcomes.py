"""From the end of a task to an event, and from the end of another run to a value."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

import msgspec
from msgspec import Raw, Struct

from outlive import errors
from outlive._codec import Codec
from outlive._core.signals import ContinueAsNew
from outlive.model import events as ev
from outlive.model.ids import RunId


class HookTarget(Protocol):
    """What events of a hook are for."""

    def undelivered(self) -> list[ev.HookReceived]: ...
    def prepare(self, event: ev.HookCreated | ev.HookConflict | ev.HookReceived) -> Callable[[], None]: ...


class Raise(Struct):
    """An answer that is an exception."""

    error: BaseException


def _parts(error: BaseException) -> tuple[BaseException, ...]:
    """What a group holds."""
    return cast("BaseExceptionGroup[BaseException]", error).exceptions if isinstance(error, BaseExceptionGroup) else ()


def of_body(main: asyncio.Task[object], codec: Codec, *, cancel_requested: bool) -> ev.RunOutcome:
    """How the body ended (R7, R8)."""
    if main.cancelled():
        if cancel_requested:
            return ev.RunCancelled()
        return ev.RunFailed(error=Raw(codec.encode_exception(asyncio.CancelledError("nobody asked for it"))))
    error = main.exception()
    if error is None:
        try:
            return ev.RunCompleted(result=Raw(codec.encode(main.result(), what="result")))
        except errors.SerializationError as refused:
            return ev.RunFailed(error=Raw(codec.encode_exception(refused)))
    alone = error
    while len(parts := _parts(alone)) == 1:  # out of an `async with TaskGroup()`
        alone = parts[0]
    if isinstance(alone, ContinueAsNew):
        try:
            return ev.RunContinued(input=Raw(codec.encode(dict(alone.arguments), what="continue_as_new")))
        except errors.SerializationError as refused:
            return ev.RunFailed(error=Raw(codec.encode_exception(refused)))
    return ev.RunFailed(error=Raw(codec.encode_exception(error)))


def with_unretrieved(outcome: ev.RunOutcome, unretrieved: tuple[str, ...]) -> ev.RunOutcome:
    return msgspec.structs.replace(outcome, unretrieved=unretrieved)


def answer(
    event: ev.ChildStarted | ev.ChildCompleted | ev.CallCompleted | ev.CallFailed,
    codec: Codec,
    make_handle: Callable[[RunId], object],
) -> object:
    """The value that an event about another run delivers, or :class:`Raise`."""
    match event:
        case ev.ChildStarted(run_id=run_id, conflict=True):
            return Raise(conflict(run_id))
        case ev.ChildStarted(run_id=run_id):
            return make_handle(run_id)
        case ev.ChildCompleted():
            return of_run(event.run_id, event.status, event.outcome, codec)
        case ev.CallCompleted(result=result):
            return codec.decode(result)
        case ev.CallFailed(name="cancel", reason=reason):
            return Raise(errors.RunNotFound(f"can't cancel: {reason}"))
        case ev.CallFailed(reason=reason):
            return Raise(hook_refused(reason))


def of_run(run: RunId, status: str, outcome: Raw, codec: Codec) -> object:
    """The result of a run that has ended, or :class:`Raise`."""
    match status:
        case "completed":
            return codec.decode(outcome)
        case "failed":
            cause = codec.decode_exception(outcome)
            failed = errors.RunFailed(f"run {run} failed: {type(cause).__name__}: {_text(cause)}", run_id=run)
            failed.__cause__ = cause
            return Raise(failed)
        case "cancelled":
            return Raise(errors.RunCancelled(f"run {run} was cancelled", run_id=run))
        case "terminated":
            reason = codec.decode(outcome)
            return Raise(errors.RunTerminated(f"run {run} was terminated: {reason or 'no reason given'}", run_id=run))
        case _:
            return Raise(errors.RunNotFound(f"there is no run {run}"))


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:  # the user's own __str__
        return f"(its text could not be made: {type(broken).__name__})"


def conflict(run_id: str) -> errors.RunConflict:
    return errors.RunConflict(
        f"run {run_id} exists with another workflow or input; choose another run_id, or pass the same input to get the same run",
        run_id=run_id,
    )


def hook_refused(reason: str) -> errors.OutliveError:
    if reason == "full":
        return errors.PayloadInvalid("too many payloads wait for this hook; the workflow must receive some first")
    return errors.HookNotFound("no open hook has this token: it was never opened, was disposed, or its run has ended")
