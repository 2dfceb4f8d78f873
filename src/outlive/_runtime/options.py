"""What can be set about a worker."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import Any, cast

from msgspec import Struct, field

from outlive._core.authoring import check_queue, whole


def _replays_always() -> bool:
    return os.environ.get("OUTLIVE_REPLAY_ALWAYS") == "1"


class WorkerOptions(Struct, frozen=True, kw_only=True):
    """What can be set about a worker; seconds throughout."""

    lease: float = 10.0
    linger: float = 1.0
    """A run with nothing in flight stays in memory this long; ten times as long if it will go on by itself before that."""
    max_idle: int = 3_000
    """With more runs than this in memory, one with nothing in flight leaves at once."""
    poll: float | None = None
    """How often to look for due runs, dead workers and messages of other processes; None: as the store says."""
    look_every: float | None = None
    """How often to look whether another process has written; None: as the store says."""
    max_hot: int = 10_000
    cancel_grace: float = 10.0
    max_steps: int = 1_000
    """Attempts of async steps at once; more wait."""
    max_threads: int = 4 * (os.cpu_count() or 1)
    """Attempts of blocking steps at once, each in a thread."""
    max_processes: int = os.cpu_count() or 1
    """Attempts of steps with ``executor="process"`` at once, each in a process of its own."""
    queues: tuple[str, ...] | None = None
    """Which queues to take steps and runs from; None: all. Runs are in ``default`` unless they say otherwise."""
    queue_limits: Mapping[str, int] = {}
    """How many steps of a queue at once, here."""
    max_queued: int = 100
    """Async steps from all queues at once: what is more is left to other workers."""
    block_warning: float = 2.0
    block_limit: float = 30.0
    replay_always: bool = field(default_factory=_replays_always)
    """Test mode: replay the log at every event; also ``OUTLIVE_REPLAY_ALWAYS=1``."""


def served(queues: Collection[str] | Mapping[str, int | None]) -> dict[str, Any]:
    """The options for what an engine was told to serve.

    Raises:
        ValueError: A queue can't have this name, or a number is none that can be a limit.
    """
    limits: dict[str, int | None] = {}
    if isinstance(queues, Mapping):
        limits.update(cast("Mapping[str, int | None]", queues))
    else:
        limits.update(dict.fromkeys([queues] if isinstance(queues, str) else queues))
    for name, most in limits.items():
        check_queue(name)
        if most is not None and whole(most, f"how many steps of {name} at once") < 1:
            raise ValueError(f"{name}: {most} steps at once; give 1 or more, or leave the queue out")
    return {
        "queues": tuple(limits),
        "queue_limits": {name: most for name, most in limits.items() if most is not None},
    }
