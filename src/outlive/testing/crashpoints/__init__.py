"""Crash at every commit: a scenario is played once undisturbed, then again with a crash before and after each commit of it.

    async def buy(client: Client) -> object:
        return await client.run(checkout, order)

    def test_checkout_survives_a_crash_anywhere() -> None:
        crash_everywhere(buy)

It plays in virtual time and takes no longer than the steps' own work. After each crash a second engine goes on, and then these are held
against the undisturbed run: the outcome, the log by command, and the ledger: no step whose result was recorded began again, none began
twice in one life, none that runs at most once began twice. Steps must be such that their results don't depend on time or chance.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from outlive._runtime.options import WorkerOptions
from outlive.testing.clock import virtual_options
from outlive.testing.crashpoints.client import Client
from outlive.testing.crashpoints.compare import differences
from outlive.testing.crashpoints.store import SIDES, CrashPoint
from outlive.testing.crashpoints.trial import Scene, StoreKind, StoreMaker, Trace, perform

__all__ = ["Client", "CrashPoint", "Report", "Scene", "StoreKind", "StoreMaker", "crash_everywhere", "patient_options"]

MOST_PLAYS: Final = 10
"""Of one crash point, until it is reached."""


class Report(Struct, frozen=True):
    """What was tried."""

    outcome: object
    """Of the undisturbed run."""
    commits: int
    trials: int
    unreached: int
    """Points that no play came to: with work in threads, what shares a commit is not the same each time."""


def crash_everywhere(
    scene: Scene,
    *,
    store: StoreKind | StoreMaker = "memory",
    also: Sequence[object] = (),
    same_log: bool = True,
    twice: int = 0,
    seed: int = 0,
    options: WorkerOptions | None = None,
) -> Report:
    """Play ``scene`` with a crash before and after each of its commits.

    Args:
        scene: What happens. An exception that a run ended with counts as an outcome.
        store: Where the runs are kept; or what opens an empty store, once for each performance.
        also: Outcomes that are right too: a step that runs at most once, say, may be cut off by a crash.
        same_log: Whether the log is held against the undisturbed one; not where a crash may decide a race of equals.
        twice: Trials with a second crash, in the life after the first, at points drawn by ``seed``.
        seed: Draws them.
        options: Of the workers; such as :func:`~outlive.testing.clock.virtual_options` gives, with polls so rare that a lost wake-up is a hang.

    Raises:
        AssertionError: With a crash it did not go as without.
    """
    settings = options or patient_options()

    def play(*points: CrashPoint) -> Trace:
        with tempfile.TemporaryDirectory(prefix="outlive-") as folder:
            return perform(scene, points, store=store, folder=Path(folder), options=settings)

    def play_until_reached(point: CrashPoint) -> Trace:
        for _ in range(MOST_PLAYS - 1):
            trace = play(point)
            if trace.deaths:
                return trace
        return play(point)

    undisturbed = play()
    problems = [f"undisturbed: {line}" for line in differences(undisturbed, undisturbed, also=())]
    if isinstance(undisturbed.outcome, str) and undisturbed.outcome.startswith("hangs: "):
        problems.append(f"undisturbed it {undisturbed.outcome}")
    trials = 0
    points = [CrashPoint(n, s) for n in range(1, undisturbed.commits[0] + 1) for s in SIDES]
    unreached: list[CrashPoint] = []
    if not problems:
        second_lives: dict[CrashPoint, int] = {}
        for point in points:
            trace = play_until_reached(point)
            trials += 1
            if not trace.deaths:
                unreached.append(point)
            second_lives[point] = trace.commits[1] if len(trace.commits) > 1 else 0
            problems += _told((point,), differences(trace, undisturbed, also=also, same_log=same_log))
        for pair in _pairs(second_lives, twice, seed):
            trials += 1
            problems += _told(pair, differences(play(*pair), undisturbed, also=also, same_log=same_log))
    if len(unreached) > len(points) // 3:
        told = ", ".join(map(str, unreached))
        problems.append(f"never reached, so the scene is not the same each time: {told}")
    assert not problems, "\n".join(problems)
    return Report(undisturbed.outcome, undisturbed.commits[0], trials, len(unreached))


def patient_options(**changes: object) -> WorkerOptions:
    """Options under which nothing is found by polling: a wake-up that is lost shows as a hang."""
    settings: dict[str, object] = {"poll": 1e10, "look_every": 1e10}
    return virtual_options(**(settings | changes))


def _pairs(second_lives: dict[CrashPoint, int], twice: int, seed: int) -> Iterator[tuple[CrashPoint, CrashPoint]]:
    chance = random.Random(seed)
    alive = [(point, commits) for point, commits in second_lives.items() if commits]
    for _ in range(twice if alive else 0):
        first, commits = chance.choice(alive)
        yield first, CrashPoint(chance.randint(1, commits), chance.choice(SIDES))


def _told(points: tuple[CrashPoint, ...], problems: Sequence[str]) -> list[str]:
    where = ", then ".join(str(point) for point in points)
    return [f"crash {where}: {problem}" for problem in problems]
