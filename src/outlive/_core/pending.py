"""What a body has asked for and not been given yet: the commands that are open, and the futures it awaits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from typing_extensions import override

from outlive._core.loop import Future
from outlive.model.commands import Command

if TYPE_CHECKING:
    from outlive._core.machine import Machine

T = TypeVar("T")


class Open:
    """A command that was issued and has not ended."""

    __slots__ = (
        "attempt",
        "cancelling",
        "command",
        "future",
        "overlapping",
        "recorded",
        "retry_at",
        "scheduled",
        "target",
        "withdrawn",
    )

    def __init__(self, command: Command, future: Future[Any] | None, target: object = None) -> None:
        self.command = command
        self.future = future
        self.target = target
        """The timer or hook that events for this ref go to."""
        self.recorded: float | None = None
        """Of a wait or hook: it is in the log, with this due time. Of a step: its last attempt began."""
        self.withdrawn = False
        self.cancelling = False
        self.attempt = 1
        self.overlapping = False
        """Of a step: the attempt before may still be running."""
        self.retry_at: float | None = None
        self.scheduled = False
        """Of a step: its attempt is in a queue."""


class StepFuture(Future[T]):
    """The result of a step. Cancelling it is a request: it is over when the attempt is (R6)."""

    __slots__ = ("_machine", "_message", "_ref")

    def __init__(self, machine: Machine, ref: int) -> None:
        super().__init__(loop=machine.loop)
        self._machine = machine
        self._ref = ref
        self._message: object = None

    @override
    def cancel(self, msg: Any | None = None) -> bool:
        if self.done():
            return False
        loop = self._machine.loop
        if loop.dropping or asyncio._get_running_loop() is not loop:
            return super().cancel(msg)
        self._message = msg
        self._machine.cancel_step(self._ref)
        return True

    def cancel_now(self) -> None:
        """The attempt has ended."""
        super().cancel(self._message)


class WaitingFuture(Future[T]):
    """The result of a sleep or a watch, which nobody else needs: cancelling it withdraws the command."""

    __slots__ = ("_machine", "_ref")

    def __init__(self, machine: Machine, ref: int) -> None:
        super().__init__(loop=machine.loop)
        self._machine = machine
        self._ref = ref

    @override
    def cancel(self, msg: Any | None = None) -> bool:
        if not super().cancel(msg):
            return False
        if not self._machine.loop.dropping:
            self._machine.withdraw(self._ref)
        return True
