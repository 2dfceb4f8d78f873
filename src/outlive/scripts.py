"""``run()``: a workflow as a script, that goes on where it was when the script is run again."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, ParamSpec, TypeVar, cast

from outlive._core.authoring import Workflow
from outlive._core.context import current
from outlive._core.others import start_child
from outlive._runtime.run_ids import new_run_id
from outlive.engine import Engine
from outlive.errors import ConfigurationError
from outlive.handles import Run, backend
from outlive.model.records import RunStatus

P = ParamSpec("P")
R = TypeVar("R")


def run(workflow: Workflow[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run ``workflow`` to its end in the default store and give its result.

    With ``workflow.options(run_id=...)`` a second call goes on where the first one was cut off, or gives its result. Only this run and its
    descendants are worked on.

    Raises:
        RunFailed: It ended with an exception, which is the ``__cause__``.
        RunParked: It is stopped for a human; the report is in the message.
        ConfigurationError: Called while an event loop is running.
    """
    if asyncio._get_running_loop() is not None:
        raise ConfigurationError(
            "outlive.run() starts an event loop of its own; here, use: async with Engine() and await engine.start(...)"
        )
    # not inside an except block: whatever a step raises would carry that exception as its context, into the log
    return asyncio.run(run_to_end(workflow, args, kwargs))


async def run_to_end(
    workflow: Workflow[Any, R],
    args: tuple[object, ...],
    kwargs: dict[str, object],
    *,
    url: str | None = None,
    guard: str | None = None,
) -> R:
    """What :func:`run` does, for callers that have a loop."""
    run_id = workflow.run_id or new_run_id()
    async with Engine(url, only=run_id, guard=guard) as engine:
        handle = await engine.start(workflow.options(run_id=run_id), *args, **kwargs)
        if await handle.status() is RunStatus.PARKED and engine.worker is not None:
            await engine.worker.look()  # the code may have been mended since
        try:
            return cast("R", await engine.await_result(handle.id, None, or_parked=True))
        finally:
            await _tell_of_others(engine, run_id)


async def _tell_of_others(engine: Engine, run_id: str) -> None:
    unfinished = [
        info
        for status in (RunStatus.RUNNING, RunStatus.PENDING)
        for info in await engine.list_runs(status=status, limit=20)
        if info.root_id != run_id and info.owner is None
    ]
    for info in unfinished[:5]:
        module = info.workflow.partition(":")[0]
        print(
            f"outlive: run {info.id} of {info.workflow} is unfinished; go on with it: outlive worker {module}",
            file=sys.stderr,
        )
    if len(unfinished) > 5:
        print(f"outlive: and {len(unfinished) - 5} more unfinished; see: outlive runs", file=sys.stderr)


def start(workflow: Workflow[P, R], *args: P.args, **kwargs: P.kwargs) -> Coroutine[object, None, Run[R]]:
    """Start a run on the ambient engine; in a workflow body a child run. See :meth:`Engine.start`."""
    machine = current()
    if machine is not None:
        return start_child(machine, workflow, args, kwargs)
    engine = backend()
    assert isinstance(engine, Engine), "the ambient engine is an Engine"
    return engine.start(workflow, *args, **kwargs)


def get_run(run_id: str) -> Run[Any]:
    """A handle on a run by its id."""
    return Run(run_id)
