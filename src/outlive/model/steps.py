"""How a step is run. None of it enters matching, so all of it may change under a sleeping run."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from msgspec import Struct

from outlive.model.retry import RetryPolicy

DEFAULT_QUEUE: Final = "default"
"""Of runs that name none."""

StepExecutor: TypeAlias = Literal["", "process"]


class StepOptions(Struct, frozen=True, omit_defaults=True, gc=False):
    """Also part of ``step_scheduled``: a field may be added with a default, never renamed or removed."""

    retry: RetryPolicy = RetryPolicy()
    timeout: float | None = None
    at_most_once: bool = False
    transaction: bool = False
    queue: str = ""
    """Any worker that serves it may run the step; empty: the worker that has the run does."""
    priority: int = 0
    """Within a queue the lowest first."""
    executor: StepExecutor = ""
