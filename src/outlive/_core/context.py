"""What code can ask about where it runs, and recorded answers to what would differ on replay."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import uuid
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, NoReturn, TypeVar, cast

from msgspec import Struct
from typing_extensions import override

from outlive._core.loop import DeterministicLoop
from outlive._core.machine import Machine
from outlive._core.signals import ContinueAsNew
from outlive._core.texts import LONGEST_NAME, check_text
from outlive.errors import NotInWorkflow
from outlive.model.commands import EmitLog
from outlive.model.ids import RunId, StepId

T = TypeVar("T")


def current() -> Machine | None:
    """The run whose body is executing on this thread."""
    loop = asyncio._get_running_loop()
    if isinstance(loop, DeterministicLoop):
        host = loop.host
        assert isinstance(host, Machine), "a deterministic loop without a machine"
        return host
    return None


def required(what: str) -> Machine:
    """The executing run.

    Raises:
        NotInWorkflow: There is none.
    """
    machine = current()
    if machine is None:
        raise NotInWorkflow(f"{what} has a meaning only inside a workflow body")
    return machine


step_connection: ContextVar[Any] = ContextVar("outlive_connection")


def get_connection(type: type[T] | None = None) -> T:
    """In a step with ``transaction=True``: the connection, or session, whose transaction commits together with the step's result.

    Args:
        type: What it is, for the type checker; it is not converted.

    Raises:
        NotInWorkflow: There is no such transaction here.
    """
    found = step_connection.get(None)
    if found is None:
        raise NotInWorkflow(
            "get_connection() has a meaning only inside a step with transaction=True that a workflow calls, on an engine that was given "
            "transactions=..."
        )
    if type is not None and not isinstance(found, type):
        raise TypeError(f"the connection is a {found.__class__.__qualname__}, not a {type.__qualname__}")
    return cast("T", found)


def now() -> datetime:
    """The time of the run's log, aware, in UTC: the same on replay. Outside a workflow the real time."""
    loop = asyncio._get_running_loop()
    if isinstance(loop, DeterministicLoop):
        return datetime.fromtimestamp(loop.time(), UTC)
    return datetime.now(UTC)


def uuid4() -> uuid.UUID:
    """A random UUID that is the same on replay, derived from the run's secret seed. Outside a workflow a fresh one."""
    machine = current()
    if machine is None:
        return uuid.uuid4()
    return uuid.UUID(bytes=machine.seed.draw("uuid4")[:16], version=4)


def rng() -> random.Random:
    """A generator whose numbers are the same on replay; each call in a run gives a fresh one. Outside a workflow a system-seeded one."""
    machine = current()
    if machine is None:
        return random.Random()
    return random.Random(int.from_bytes(machine.seed.draw("rng"), "big"))


def patched(id: str) -> bool:
    """Whether this run takes the new path: True for runs that first got here under code that has the patch (R38)."""
    return required("patched()").patched(check_text(id, "the id of a patch", most=LONGEST_NAME))


def continue_as_new(*args: object, **kwargs: object) -> NoReturn:
    """End this run here and start it again with ``args``, with an empty log, under the same id, in one commit.

    Raises:
        RuntimeError: Not called in the workflow's main task.
        TypeError: The arguments do not fit the workflow.
    """
    machine = required("continue_as_new()")
    if not machine.in_main_task:
        raise RuntimeError("continue_as_new() ends the workflow, so it is valid only in its main task")
    raise ContinueAsNew(machine.bind_self(args, kwargs))


class WorkflowMetadata(Struct, frozen=True, kw_only=True):
    """The executing run."""

    run_id: RunId
    workflow: str
    link: int
    """1 for the first of a chain of ``continue_as_new``."""
    started_at: datetime
    parent_run_id: RunId | None


class StepMetadata(Struct, frozen=True, kw_only=True):
    """The executing attempt of a step."""

    step_id: StepId
    """The same for every attempt, also after a crash: use it as idempotency key."""
    name: str
    run_id: RunId
    attempt: int
    started_at: datetime
    overlapping: bool = False
    """The attempt before may still be running: it outlived its timeout and its grace (R11)."""
    is_cancelled: Callable[[], bool] = lambda: False

    @property
    def cancelled(self) -> bool:
        """Whether this attempt was cancelled or has timed out; a step in a thread should look and return."""
        return self.is_cancelled()


step_metadata: ContextVar[Callable[[], StepMetadata]] = ContextVar("outlive_step")
"""Makes what :func:`get_step_metadata` gives; few steps ask."""


def get_workflow_metadata() -> WorkflowMetadata:
    """About the executing run.

    Raises:
        NotInWorkflow: Called anywhere but in a workflow body.
    """
    machine = required("get_workflow_metadata()")
    return WorkflowMetadata(
        run_id=machine.run,
        workflow=machine.workflow,
        link=machine.link,
        started_at=datetime.fromtimestamp(machine.started_at, UTC),
        parent_run_id=machine.parent.run if machine.parent is not None else None,
    )


def get_step_metadata() -> StepMetadata:
    """About the executing attempt.

    Raises:
        NotInWorkflow: Called anywhere but in a step that a run called.
    """
    try:
        make = step_metadata.get()
    except LookupError:
        raise NotInWorkflow("get_step_metadata() has a meaning only inside a step that a workflow called") from None
    return make()


class _QuietOnReplay(logging.Filter):
    """Holds back a body's lines until what they tell of is durable, and drops them on replay."""

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        machine = current()
        if machine is None:
            return True
        if not machine.replaying and not machine.loop.dropping:
            record.run_id = machine.run
            _freeze(record)
            machine.put(EmitLog(record))
        return False


def _freeze(record: logging.LogRecord) -> None:
    """The line says what is so now, and not what its arguments become until it comes out."""
    args = record.args.values() if isinstance(record.args, dict) else record.args or ()
    if not all(type(value) in _IMMUTABLE for value in args):
        with contextlib.suppress(Exception):  # a line that does not fit its arguments is logging's to tell of
            record.msg, record.args = record.getMessage(), None


_QUIET = _QuietOnReplay()
_IMMUTABLE = frozenset({str, int, float, bool, type(None), bytes})


def get_logger(name: str = "outlive.workflow") -> logging.Logger:
    """The standard logger of that name, silent on replay; in a body its lines come out once what they tell of is durable."""
    logger = logging.getLogger(name)
    if _QUIET not in logger.filters:
        logger.addFilter(_QUIET)
    return logger


def emit(record: logging.LogRecord) -> None:
    """Give a line that was held back to the handlers of its logger."""
    logging.getLogger(record.name).callHandlers(record)
