"""Every exception a caller can catch.

    OutliveError
    ├ ConfigurationError   wrong before anything ran
    │ ├ UnknownWorkflow    no code is registered under that name
    │ ├ DuplicateName      two functions claim one name
    │ └ SchemaVersion      the store was written by a newer Outlive
    ├ ExecutionError       the user's work ended badly
    │ ├ StepError          a step failed with an exception whose type can't be rebuilt here
    │ ├ StepTimeout        an attempt ran longer than its ``timeout`` (also a ``TimeoutError``)
    │ ├ StepInterrupted    an ``at_most_once`` step was cut off by a crash
    │ ├ RunFailed · RunCancelled · RunTerminated
    ├ DeterminismError     code that can't be replayed
    │ ├ NonDeterminismError  a body called what must not enter it
    │ ├ ReplayDivergence   code and log disagree; the run is parked
    │ ├ WorkflowBlocked    a body never gave the loop back; the run is parked
    │ └ RunParked          the run waits for a human; nothing is lost
    ├ UsageError
    │ └ NotInWorkflow      the call has a meaning only inside a workflow body
    ├ ConflictError
    │ ├ RunConflict        the id belongs to another workflow or input
    │ ├ HookConflict       the token is held by another run
    │ └ LeaseLost          another worker owns what this one thought it owned
    ├ NotFoundError        RunNotFound · HookNotFound
    ├ PayloadError
    │ ├ PayloadInvalid     data from outside does not fit the declared type
    │ └ SerializationError a value can't be carried
    ├ StoreError           StoreUnavailable (try again) · StoreCorrupt (stop)
    └ InternalError        our bug: please report it

Raised by users in steps: :class:`FatalError`, :class:`RetryableError`.
What steers the engine (continue-as-new, a dropped run) stands outside ``Exception`` and is private.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar


class OutliveError(Exception):
    """Catch-all for what Outlive raises on purpose. ``code`` names its page in the documentation."""

    code: ClassVar[str] = "outlive-error"


class ConfigurationError(OutliveError):
    """Something was wrong before anything ran."""

    code = "configuration-error"


class UnknownWorkflow(ConfigurationError):
    """No workflow or step is registered under this name in this process."""

    code = "unknown-workflow"


class DuplicateName(ConfigurationError):
    """Two different functions claim one registered name."""

    code = "duplicate-name"


class SchemaVersion(ConfigurationError):
    """The store was written by a newer Outlive than this one."""

    code = "schema-version"


class ExecutionError(OutliveError):
    """The user's own work ended badly."""

    code = "execution-error"


class StepError(ExecutionError):
    """A step failed with an exception whose own type can't be rebuilt in the workflow.

    Attributes:
        type_name: ``module:qualname`` of the original exception.
        message: Its text.
        traceback_text: Its formatted traceback as recorded, or the empty string.
    """

    code = "step-error"

    def __init__(self, message: str, *, type_name: str = "", traceback_text: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.type_name = type_name
        self.traceback_text = traceback_text

    def __str__(self) -> str:
        return f"{self.type_name}: {self.message}" if self.type_name else self.message


class StepTimeout(ExecutionError, TimeoutError):
    """One attempt of a step ran longer than the step's ``timeout``."""

    code = "step-timeout"


class StepInterrupted(ExecutionError):
    """An ``at_most_once`` step was running when its worker died; whether it acted is unknown."""

    code = "step-interrupted"


class RunFailed(ExecutionError):
    """The run ended with an exception; it is the ``__cause__`` where its type could be rebuilt."""

    code = "run-failed"

    def __init__(self, message: str, *, run_id: str = "") -> None:
        super().__init__(message)
        self.run_id = run_id


class RunCancelled(ExecutionError):
    """The run was cancelled on request."""

    code = "run-cancelled"

    def __init__(self, message: str, *, run_id: str = "") -> None:
        super().__init__(message)
        self.run_id = run_id


class RunTerminated(ExecutionError):
    """The run was ended from outside without its body."""

    code = "run-terminated"

    def __init__(self, message: str, *, run_id: str = "") -> None:
        super().__init__(message)
        self.run_id = run_id


class DeterminismError(OutliveError):
    """Code that can't be replayed, or was not replayed as recorded."""

    code = "determinism-error"


class NonDeterminismError(DeterminismError):
    """A workflow body called something whose answer would differ on replay."""

    code = "non-determinism"


class ReplayDivergence(DeterminismError):
    """Code and log disagree. The run is parked, its log untouched; put the old code back, or fix it with ``patched``."""

    code = "replay-divergence"


class WorkflowBlocked(DeterminismError):
    """A body kept the loop for too long without awaiting; the run is parked."""

    code = "workflow-blocked"


class RunParked(DeterminismError):
    """The run is stopped for a human; nothing is lost, and it goes on when the cause is gone."""

    code = "run-parked"

    def __init__(self, message: str, *, run_id: str = "", reason: str = "") -> None:
        super().__init__(message)
        self.run_id = run_id
        self.reason = reason


class UsageError(OutliveError):
    """A call in a place where it has no meaning."""

    code = "usage-error"


class NotInWorkflow(UsageError):
    """The call has a meaning only inside a workflow body."""

    code = "not-in-workflow"


class ConflictError(OutliveError):
    """Somebody else holds what was asked for."""

    code = "conflict"


class RunConflict(ConflictError):
    """The run id belongs to a run of another workflow, or with another input."""

    code = "run-conflict"

    def __init__(self, message: str, *, run_id: str = "") -> None:
        super().__init__(message)
        self.run_id = run_id


class HookConflict(ConflictError):
    """The hook's token is held by another run, named by ``run_id``."""

    code = "hook-conflict"

    def __init__(self, message: str, *, run_id: str = "") -> None:
        super().__init__(message)
        self.run_id = run_id


class LeaseLost(ConflictError):
    """This worker's lease has ended; whatever it owned belongs to others now."""

    code = "lease-lost"


class NotFoundError(OutliveError):
    """There is nothing of that name."""

    code = "not-found"


class RunNotFound(NotFoundError):
    """No run has this id."""

    code = "run-not-found"


class HookNotFound(NotFoundError):
    """No open hook has this token: it was never opened, was disposed, or its run has ended."""

    code = "hook-not-found"


class PayloadError(OutliveError):
    """A value can't go where it was sent."""

    code = "payload-error"


class PayloadInvalid(PayloadError):
    """Data from outside does not fit the type that the hook declares."""

    code = "payload-invalid"


class SerializationError(PayloadError):
    """A value can't be carried, or a stored one can't be rebuilt; the message names the path to it."""

    code = "serialization"


class StoreError(OutliveError):
    """The store could not do its work."""

    code = "store-error"


class StoreUnavailable(StoreError):
    """The store can't be written now (full, locked, gone); try again."""

    code = "store-unavailable"


class StoreCorrupt(StoreError):
    """The store holds something that can't be; stop and run ``outlive doctor``."""

    code = "store-corrupt"


class InternalError(OutliveError):
    """A bug of Outlive: please report it with the message."""

    code = "internal"


class FatalError(Exception):
    """Raise it in a step to fail at once: no retry."""


class RetryableError(Exception):
    """Raise it in a step to choose when the next attempt runs.

    Args:
        message: What went wrong.
        retry_after: Seconds, a duration such as ``"30s"``, a ``timedelta``, or an aware ``datetime``; unset means the step's own ``retry_delay``.
    """

    def __init__(self, message: str = "", *, retry_after: float | str | timedelta | datetime | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
