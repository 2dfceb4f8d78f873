"""What is measured, in which unit, and what is to be reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Base = Literal["commit", "ceiling", ""]


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One row of the table."""

    name: str
    """What the row says; ``{size}`` in it is the size that was measured."""
    program: str
    """The function in ``outlive_programs.py`` and, where there is one, in ``dbos_programs.py``."""
    size: int
    quick: int
    """The size for a smoke test."""
    dbos: int | None
    """The size for DBOS, smaller where a figure per unit takes it too long; None: it has no such thing."""
    unit: str
    target: float
    higher: bool = False
    base: Base = ""
    """Which limit of this machine it is a ratio of."""
    part: str = "value"
    """Which figure of the program's answer."""
    dbos_program: str = ""
    """The function in ``dbos_programs.py``, where it has another name."""

    def title(self, size: int) -> str:
        return self.name.format(size=f"{size:,}")


# fmt: off
WORKLOADS: Final = (
    Workload(name="{size} sequential steps", program="sequential", size=100, quick=20, dbos=100, unit="ms/step", target=0.5, base="commit"),
    Workload(name="{size} sequential steps", program="sequential", size=1_000, quick=20, dbos=1_000, unit="ms/step", target=0.5, base="commit"),
    Workload(name="{size} sequential steps", program="sequential", size=10_000, quick=20, dbos=1_000, unit="ms/step", target=0.5, base="commit"),
    Workload(name="{size} runs x 5 steps", program="runs", size=1_000, quick=20, dbos=200, unit="steps/s", target=15_000,
             higher=True, base="ceiling"),
    Workload(name="{size} runs x 5 steps", program="runs", size=20_000, quick=20, dbos=200, unit="steps/s", target=15_000,
             higher=True, base="ceiling"),
    Workload(name="gather of {size} steps", program="gather", size=1_000, quick=20, dbos=1_000, unit="s", target=0.15),
    Workload(name="gather of {size} steps", program="gather", size=10_000, quick=20, dbos=None, unit="s", target=1.5),
    Workload(name="gather of {size} steps through a queue", program="queued", size=1_000, quick=20, dbos=1_000, unit="s", target=0.5),
    Workload(name="start to result, p50", program="start", size=200, quick=5, dbos=100, unit="ms", target=2.5, base="commit"),
    Workload(name="start to result, p99", program="start", size=200, quick=5, dbos=100, unit="ms", target=10, base="commit", part="p99"),
    Workload(name="hook to result, p50", program="hook", size=200, quick=5, dbos=50, unit="ms", target=3, base="commit"),
    Workload(name="hook to result, p99", program="hook", size=200, quick=5, dbos=50, unit="ms", target=12, base="commit", part="p99"),
    Workload(name="hook to result, p50, DBOS polling each ms", program="hook", size=200, quick=5, dbos=50, unit="ms", target=3, base="commit",
             dbos_program="hook_polled"),
    Workload(name="webhook to result, p50", program="webhook", size=200, quick=5, dbos=None, unit="ms", target=5, base="commit"),
    Workload(name="webhook to result, p99", program="webhook", size=200, quick=5, dbos=None, unit="ms", target=15, base="commit", part="p99"),
    Workload(name="{size} webhooks of 64 callers", program="webhooks", size=6_400, quick=64, dbos=None, unit="requests/s", target=1_500,
             higher=True),
    Workload(name="chunk to reader over HTTP, p50", program="sse", size=200, quick=20, dbos=None, unit="ms", target=20),
    Workload(name="{size} chunks through one stream", program="chunks", size=100_000, quick=500, dbos=None, unit="chunks/s", target=20_000,
             higher=True),
    Workload(name="{size} timers of 5 s, the last is late", program="timers", size=2_000, quick=5, dbos=2_000, unit="s", target=0.3),
    Workload(name="{size} races of a step and a day", program="races", size=200, quick=5, dbos=None, unit="s", target=0.15),
    Workload(name="{size} sleeping runs, memory", program="sleepers", size=10_000, quick=20, dbos=None, unit="MB", target=110),
    Workload(name="{size} sleeping runs, wake one", program="sleepers", size=10_000, quick=20, dbos=None, unit="ms", target=50, part="wake"),
    Workload(name="{size} sleeping runs, memory", program="sleepers", size=100_000, quick=20, dbos=None, unit="MB", target=110),
    Workload(name="{size} sleeping runs, wake one", program="sleepers", size=100_000, quick=20, dbos=None, unit="ms", target=50, part="wake"),
    Workload(name="cold replay of {size} events", program="replay", size=10_000, quick=50, dbos=None, unit="events/s", target=30_000, higher=True),
    Workload(name="import", program="imports", size=9, quick=1, dbos=9, unit="ms", target=150),
    Workload(name="process start to first result", program="first", size=5, quick=1, dbos=3, unit="s", target=0.3),
)

ON_POSTGRES: Final = (
    Workload(name="{size} sequential steps", program="sequential", size=100, quick=20, dbos=100, unit="ms/step", target=1.2, base="commit"),
    Workload(name="{size} sequential steps", program="sequential", size=1_000, quick=20, dbos=1_000, unit="ms/step", target=1.2, base="commit"),
    Workload(name="{size} runs x 5 steps", program="runs", size=1_000, quick=20, dbos=200, unit="steps/s", target=8_000, higher=True, base="ceiling"),
    Workload(name="{size} runs x 5 steps, 1 worker", program="one_worker", size=2_000, quick=20, dbos=None, unit="steps/s", target=0, higher=True),
    Workload(name="{size} runs x 5 steps, 2 workers", program="two_workers", size=2_000, quick=20, dbos=None, unit="steps/s", target=0, higher=True),
    Workload(name="{size} runs x 5 steps of 2 ms, 1 worker", program="one_burning", size=400, quick=20, dbos=None,
             unit="steps/s", target=0, higher=True),
    Workload(name="{size} runs x 5 steps of 2 ms, 2 workers", program="two_burning", size=400, quick=20, dbos=None,
             unit="steps/s", target=0, higher=True),
    Workload(name="gather of {size} steps", program="gather", size=1_000, quick=20, dbos=1_000, unit="s", target=0.4),
    Workload(name="gather of {size} steps through a queue", program="queued", size=1_000, quick=20, dbos=1_000, unit="s", target=1.0),
    Workload(name="start to result, p50", program="start", size=200, quick=5, dbos=100, unit="ms", target=5, base="commit"),
    Workload(name="start to result, p99", program="start", size=200, quick=5, dbos=100, unit="ms", target=20, base="commit", part="p99"),
    Workload(name="start elsewhere to begin, p50", program="enqueue", size=100, quick=5, dbos=30, unit="ms", target=20),
    Workload(name="hook to result, p50", program="hook", size=200, quick=5, dbos=50, unit="ms", target=10, base="commit"),
    Workload(name="{size} timers of 5 s, the last is late", program="timers", size=2_000, quick=5, dbos=500, unit="s", target=0.6),
    Workload(name="throughput beside a transaction of {size} s", program="pinned", size=60, quick=3, dbos=None, unit="of base", target=0.5,
             higher=True),
    Workload(name="cold replay of {size} events", program="replay", size=10_000, quick=50, dbos=None, unit="events/s", target=30_000, higher=True),
    Workload(name="{size} sleeping runs, wake one", program="sleepers", size=10_000, quick=20, dbos=None, unit="ms", target=50, part="wake"),
)
# fmt: on
