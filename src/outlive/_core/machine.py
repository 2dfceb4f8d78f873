"""One life of a run: events in, commands out.

``activate`` pushes one event in, lets the loop run until nothing is ready and gives the commands that came out. The machine
keeps what is open (issued, not ended); after a replay that is all the driver needs to go on. It reads no clock and writes nothing.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import math
import weakref
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, TypeVar, cast

from msgspec import Raw

from outlive._codec import Codec, Encoded
from outlive._core import outcomes
from outlive._core.guard import Guard
from outlive._core.loop import DeterministicLoop, Future, NeverIdle, Timer
from outlive._core.matching import Issued, check
from outlive._core.pending import Open, StepFuture, WaitingFuture
from outlive._core.seeds import Seed
from outlive._core.signals import Discarded, Diverged, Inert, Undecodable
from outlive.errors import NonDeterminismError, SerializationError
from outlive.model import commands as cmd
from outlive.model import events as ev
from outlive.model.commands import Command
from outlive.model.durations import FOREVER
from outlive.model.ids import RunId, TokenHash

T = TypeVar("T")

MAX_SWEEPS: Final = 1_000
"""Clean-up that begins tasks whose clean-up begins tasks is never idle either (R28)."""

INERT_LIMIT: Final = 100
"""From this many inert calls on, a dropped run's awaits suspend instead of raising: a loop around a bare ``except`` ends (R24)."""


class Machine:
    """A run in memory. Built from its ``RunCreated``; ``body`` gives the coroutine of the workflow for the decoded arguments."""

    __slots__ = (
        "__weakref__",
        "_body",
        "_cancel_requested",
        "_created",
        "_failed",
        "_fatal",
        "_from_log",
        "_inert_calls",
        "_main",
        "_markers",
        "_out",
        "_outcome",
        "_patches",
        "_recorded",
        "_sweep",
        "_trace",
        "base_url",
        "bind_self",
        "codec",
        "ended",
        "find_function",
        "fresh_markers",
        "guard",
        "issued",
        "link",
        "loop",
        "make_handle",
        "open",
        "parent",
        "replaying",
        "run",
        "seed",
        "started_at",
        "unheard_cancel",
        "unretrieved",
        "webhook_bases",
        "workflow",
    )

    def __init__(
        self,
        *,
        run: RunId,
        link: int,
        created: ev.RunCreated,
        body: Callable[[dict[str, object]], Coroutine[Any, Any, object]],
        bind: Callable[[tuple[object, ...], Mapping[str, object]], dict[str, object]],
        codec: Codec,
        guard: Guard,
        markers: frozenset[str] = frozenset(),
        recorded: float = math.inf,
        trace: Callable[[], str] | None = None,
        make_handle: Callable[[RunId], object] = lambda run: run,
        base_url: str = "",
        webhook_bases: Mapping[int, str] | None = None,
        find_function: Callable[[str], object] = lambda _name: None,
    ) -> None:
        self.run: RunId = run
        self.link: int = link
        self.workflow: str = created.workflow
        self.parent: ev.Parent | None = created.parent
        self.started_at: float = 0.0
        self.seed: Seed = Seed(created.seed)
        self.codec: Codec = codec
        self.guard: Guard = guard
        self.loop: DeterministicLoop = DeterministicLoop(self, guard, first_order=self.seed.first_order())  # type: ignore[abstract]  # what it refuses is put into the class afterwards
        self.loop.on_exception = self._on_exception
        self.open: dict[int, Open] = {}
        self.issued: list[Issued] = []
        self.replaying: bool = False
        self.ended: bool = False
        self.unheard_cancel: bool = False
        """Its end was asked for when the body was done: if the chain goes on, its next link is told (R8)."""
        self.make_handle: Callable[[RunId], object] = make_handle
        self.unretrieved: list[str] = []
        self.fresh_markers: list[str] = []
        """Patches that a replay met beyond all that the log records: their markers are still to be written."""
        self.bind_self: Callable[[tuple[object, ...], Mapping[str, object]], dict[str, object]] = bind
        """The workflow's arguments for its next link."""
        self.base_url: str = base_url
        """What the URLs of new webhooks begin with."""
        self.webhook_bases: Mapping[int, str] = webhook_bases or {}
        """What those in the log begin with, by ref."""
        self.find_function: Callable[[str], object] = find_function
        """The function of a module of steps or workflows, by its name."""
        self._created = created
        self._body = body
        self._markers = markers
        self._recorded = recorded
        """The highest ref in the log that is replayed, infinite if the run has ended."""
        self._patches: dict[str, bool] = {}
        self._trace = trace
        self._out: list[Command] = []
        self._main: asyncio.Task[object] | None = None
        self._outcome: ev.RunOutcome | None = None
        self._sweep: list[asyncio.Task[Any]] = []
        self._failed: list[weakref.ref[asyncio.Task[Any]]] = []
        self._from_log: list[BaseException] = []
        self._cancel_requested = False
        self._inert_calls = 0
        self._fatal: BaseException | None = None

    # --- driven by the worker ----------------------------------------------------------------------------------------

    def activate(self, recorded: ev.Recorded, *, replaying: bool = False) -> list[Command]:
        """Apply one event of the log, in order; give what the body asked for.

        Raises:
            Diverged: The event is not one that this code can have met.
            Undecodable: Its value can't be rebuilt.
            NeverIdle: The body does not come to rest.
            Discarded: Try again from the log.
        """
        event = recorded.event
        self.replaying = replaying
        check(self.issued, event, outcome=self._outcome, ended=self.ended)
        if type(event) not in ev.ACTIVATIONS:
            self._echo(event)
            return []
        deliver = self._prepare(event)
        saved = self.loop.enter()
        try:
            self.loop.advance(recorded.time)
            deliver()
            self._drain()
            if self._main is not None and self._main.done():
                self._finish()
        finally:
            self.loop.leave(saved)
        if self._fatal is not None:
            raise Discarded(f"{type(self._fatal).__name__} inside the workflow body") from self._fatal
        out, self._out = self._out, []
        return out

    def _drain(self) -> None:
        try:
            self.loop.drain()
        except KeyboardInterrupt as interrupt:
            self._fatal = interrupt

    # --- what events do ----------------------------------------------------------------------------------------------

    def _echo(self, event: ev.Event) -> None:
        match event:
            case ev.StepScheduled(ref=ref, attempt=attempt):
                if (step := self.open.get(ref)) is not None:
                    step.attempt, step.retry_at, step.scheduled = attempt, None, True
            case ev.StepStarted(ref=ref, attempt=attempt):
                if (step := self.open.get(ref)) is not None:
                    step.attempt, step.retry_at, step.recorded = attempt, None, 0.0
            case ev.StepRetrying(ref=ref, attempt=attempt, at=at):
                if (step := self.open.get(ref)) is not None:
                    step.attempt, step.retry_at, step.recorded = attempt + 1, at, None
                    step.scheduled = False
            case ev.WaitCreated(ref=ref, due=due):
                if (wait := self.open.get(ref)) is not None:
                    wait.recorded = due
            case ev.WaitCancelled(ref=ref) | ev.HookDisposed(ref=ref):
                self.open.pop(ref, None)
            case _:
                pass

    def _prepare(self, event: ev.Event) -> Callable[[], None]:
        """What to do inside the activation. All decoding happens here, before it (rule 8)."""
        match event:
            case ev.RunStarted():
                arguments = self._decode(self._created.input)
                assert isinstance(arguments, dict), "a run's input is not a set of arguments"
                return lambda: self._begin(cast("dict[str, object]", arguments))
            case ev.CancelRequested():
                return self._cancel
            case ev.StepCompleted() | ev.StepFailed() | ev.StepCancelled():
                return self._step_ended(event)
            case ev.WaitCompleted():
                return self._wait_ended(event)
            case ev.HookCreated() | ev.HookConflict() | ev.HookReceived():
                return self._hook(event)
            case ev.ChildStarted() | ev.ChildCompleted() | ev.CallCompleted() | ev.CallFailed():
                return self._answered(event)
            case _:
                raise AssertionError(f"{event} is not an activation")

    def _begin(self, arguments: dict[str, object]) -> None:
        self.started_at = self.loop.time()
        try:
            body = self._body(arguments)
        except TypeError as error:  # of the call alone: a coroutine has not begun
            recorded = f"the arguments {', '.join(arguments) or 'of none'}"
            raise Diverged(ref=0, recorded=recorded, attempted=f"takes others: {error}") from error
        self._main = self.loop.create_task(body, name="workflow", context=contextvars.Context())

    def _cancel(self) -> None:
        self._cancel_requested = True
        if self._main is not None and self._main.done():
            self.unheard_cancel = True
        elif self._main is not None:
            self._main.cancel()

    def _step_ended(self, event: ev.StepCompleted | ev.StepFailed | ev.StepCancelled) -> Callable[[], None]:
        step = self.open.pop(event.ref, None)
        future = None if step is None else cast("StepFuture[object]", step.future)
        if step is None or future is None or future.done():
            return _nothing
        if step.cancelling or type(event) is ev.StepCancelled:
            return future.cancel_now
        if type(event) is ev.StepCompleted:
            # past the check of who sets it, which is for everybody else (R26)
            return functools.partial(_set_result, future, self._decode(event.result))
        error = self._decode_error(cast("ev.StepFailed", event).error)
        if isinstance(error, MemoryError | RecursionError):
            self._from_log.append(error)  # the step met it, not this process
        return lambda: _raise_in(future, error)

    def _wait_ended(self, event: ev.WaitCompleted) -> Callable[[], None]:
        wait = self.open.pop(event.ref, None)
        if wait is None or wait.withdrawn:
            return _nothing
        if isinstance(wait.target, Timer):
            timer = wait.target
            return lambda: self.loop.fire(timer)
        # one that was woken ends before its time
        due = 0.0 if event.woken else cast("cmd.StartWait", wait.command).due
        future = cast("Future[object]", wait.future)

        def wake() -> None:
            self.loop.advance(due)
            if not future.done():
                future.set_result(None)

        return wake

    def _hook(self, event: ev.HookCreated | ev.HookConflict | ev.HookReceived) -> Callable[[], None]:
        hook = self.open.get(event.ref)
        if hook is None:
            return _nothing
        if type(event) is ev.HookCreated:
            hook.recorded = 0.0
        elif type(event) is ev.HookConflict:
            self.open.pop(event.ref, None)
        target = cast("outcomes.HookTarget", hook.target)
        return target.prepare(event)

    def _answered(
        self, event: ev.ChildStarted | ev.ChildCompleted | ev.CallCompleted | ev.CallFailed
    ) -> Callable[[], None]:
        call = self.open.pop(event.ref, None)
        if call is None or call.future is None or call.future.done():
            return _nothing
        future = call.future
        try:
            value = outcomes.answer(event, self.codec, self.make_handle)
        except SerializationError as error:
            raise Undecodable(str(error)) from error
        if isinstance(value, outcomes.Raise):
            refusal = value.error
            return lambda: _raise_in(future, refusal)
        return lambda: future.set_result(value)

    def _decode(self, raw: Raw) -> object:
        try:
            return self.codec.decode(raw)
        except SerializationError as error:
            raise Undecodable(str(error)) from error

    def _decode_error(self, raw: Raw) -> BaseException:
        try:
            return self.codec.decode_exception(raw)
        except SerializationError as error:
            raise Undecodable(str(error)) from error

    # --- the end of the body (R5) ------------------------------------------------------------------------------------

    def _finish(self) -> None:
        main = self._main
        if main is None or self.ended or self._fatal is not None:
            return
        if self._outcome is None:
            self._outcome = outcomes.of_body(main, self.codec, cancel_requested=self._cancel_requested)
        for _ in range(MAX_SWEEPS):
            if not all(task.done() for task in self._sweep):
                return
            self._sweep = self._next_sweep()
            if not self._sweep:
                break
            self._drain()
            if self._fatal is not None:
                return
        else:
            raise NeverIdle
        self.ended = True
        if unretrieved := self._report_failed():
            self._outcome = outcomes.with_unretrieved(self._outcome, unretrieved)
        self._out.append(cmd.EndRun(self._outcome))

    def _next_sweep(self) -> list[asyncio.Task[Any]]:
        """What must end before the run does: first all tasks, then those that their clean-up began, then generators."""
        tasks: list[asyncio.Task[Any]] = list(self.loop.tasks)
        for task in tasks:
            task.cancel()
        if not tasks and self.loop.generators:
            tasks.append(self.loop.create_task(self.loop.shutdown_asyncgens()))
        return tasks

    def task_failed(self, task: asyncio.Task[Any]) -> None:
        """A task ended with an exception; whether anybody will retrieve it, the end of the run will show."""
        error = task._exception  # asking for it counts as retrieving it
        if error is not None and self._met(error):
            self._fatal = error
        self._failed.append(weakref.ref(task))

    def _met(self, error: BaseException) -> bool:
        """Whether ``error`` says something of this process and nothing of the workflow (R12)."""
        if isinstance(error, BaseExceptionGroup):
            return any(self._met(part) for part in cast("BaseExceptionGroup[BaseException]", error).exceptions)
        return isinstance(error, MemoryError | RecursionError) and not any(error is known for known in self._from_log)

    def _report_failed(self) -> tuple[str, ...]:
        """Exceptions that nobody retrieved, also those that a reference cycle keeps from being collected."""
        for failed in self._failed:
            task = failed()
            if task is not None and task._log_traceback:  # asyncio's own mark
                task._log_traceback = False
                message = f"{type(task).__name__} exception was never retrieved"
                self._on_exception({"message": message, "exception": task._exception})
        self._failed.clear()
        return tuple(self.unretrieved)

    def undelivered(self) -> tuple[tuple[TokenHash, ev.HookReceived], ...]:
        """Payloads for tokens that users chose which nobody received: the next link of the chain gets them."""
        return tuple(
            (item.command.token_hash, received)
            for item in self.open.values()
            if isinstance(item.command, cmd.OpenHook) and item.command.token and not item.withdrawn
            for received in cast("outcomes.HookTarget", item.target).undelivered()
        )

    def _on_exception(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, Inert) or self.loop.dropping:
            return
        text = f"{context.get('message', 'unhandled exception')}: {error!r}"
        self.unretrieved.append(text)
        if not self.replaying:
            logging.getLogger("outlive.run").error("%s in run %s", text, self.run, exc_info=error)

    # --- what bodies ask for -----------------------------------------------------------------------------------------

    def issue(self, kind: str, name: str, digest: str) -> int:
        """Give the next command its ref. Inert when the run has been dropped (R24).

        Raises:
            NonDeterminismError: Another run is executing, or none.
        """
        if asyncio._get_running_loop() is not self.loop:
            raise NonDeterminismError(f"a {kind} was made in one run and awaited in another; await it where it is made")
        if self.loop.dropping:
            self._inert()
            return 0
        self.issued.append(Issued(kind, name, digest, self._trace() if self._trace is not None else ""))
        return len(self.issued)

    @property
    def next_ref(self) -> int:
        """What the next command gets."""
        return len(self.issued) + 1

    def put(self, command: Command) -> None:
        self._out.append(command)

    def call(self, command: Command, future: Future[T], ref: int, target: object = None) -> Future[T]:
        """Put out a command whose answer settles ``future``."""
        if not self.loop.dropping:
            self.open[ref] = Open(command, future, target)
            self._out.append(command)
        return future

    async def suspend_if_inert(self) -> None:
        """Await before anything durable: ends a clean-up that loops around its own failure (R24)."""
        if self.loop.dropping:
            self._inert()
            await self.loop.create_future()

    def _inert(self) -> None:
        """Whoever calls this is no longer there. Past the limit it gets an answer, so that it comes to its next await."""
        self._inert_calls += 1
        if self._inert_calls < INERT_LIMIT:
            raise Inert

    def wait(self, delay: float) -> Future[None]:
        """Issue a ``sleep``."""
        ref = self.issue("sleep", "", repr(delay))
        command = cmd.StartWait(ref=ref, kind="sleep", delay=delay, due=min(self.loop.time() + delay, FOREVER))
        return self.call(command, WaitingFuture[None](self, ref), ref)

    def start_timer(self, handle: Timer, delay: float) -> None:
        handle.ref = self.issue("timer", "", repr(delay))
        command = cmd.StartWait(ref=handle.ref, kind="timer", delay=delay, due=min(self.loop.time() + delay, FOREVER))
        self.open[handle.ref] = Open(command, None, handle)
        self._out.append(command)

    def cancel_timer(self, handle: Timer) -> None:
        if handle.ref:
            self.withdraw(handle.ref)

    def withdraw(self, ref: int) -> None:
        """Nobody waits for ``ref`` any more."""
        waiting = self.open.get(ref)
        if waiting is None or waiting.withdrawn:
            return
        waiting.withdrawn = True
        if isinstance(waiting.command, cmd.WatchRun):
            del self.open[ref]
            self._out.append(cmd.UnwatchRun(ref))
        else:
            self._out.append(cmd.CancelWait(ref))

    def cancel_step(self, ref: int) -> None:
        step = self.open.get(ref)
        if step is not None and not step.cancelling:
            step.cancelling = True
            self._out.append(cmd.CancelStep(ref))

    def patched(self, patch: str) -> bool:
        """R38: one answer per run and id; True if the marker is in the log, or if nothing is recorded of what comes after here.

        Then no life that anything is left of has passed here under other code, and a crash changes no answer.
        """
        if self.loop.dropping:
            self._inert()
            return False
        answer = self._patches.get(patch)
        if answer is None:
            answer = patch in self._markers or not self.replaying or len(self.issued) >= self._recorded
            self._patches[patch] = answer
            if answer and patch not in self._markers:
                self._out.append(cmd.SetMarker(patch))
                if self.replaying:
                    self.fresh_markers.append(patch)
        return answer

    @property
    def in_main_task(self) -> bool:
        return self._main is not None and asyncio.current_task(self.loop) is self._main

    @property
    def outcome(self) -> ev.RunOutcome | None:
        """How the body ended."""
        return self._outcome

    def encode(self, value: object, what: str) -> Encoded:
        return self.codec.encode(value, what=what)


_set_result: Final[Callable[[asyncio.Future[Any], object], None]] = asyncio.Future[Any].set_result


def _nothing() -> None:
    """The awaiter is gone; the event only moves the clock (R3)."""


def _raise_in(future: Future[Any], error: BaseException) -> None:
    if isinstance(error, StopIteration):  # a future can't carry it
        error = RuntimeError(f"StopIteration: {error}")
    future.set_exception(error)


__all__ = ["INERT_LIMIT", "Inert", "Machine", "NeverIdle", "Open", "StepFuture", "WaitingFuture"]
