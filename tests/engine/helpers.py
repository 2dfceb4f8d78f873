"""Effects of steps, counted outside of the engine."""

from __future__ import annotations

from typing import Any

from outlive import Run

_ledger: list[tuple[str, Any]] = []


def record(name: str, value: Any = None) -> None:
    """A step has had an effect."""
    _ledger.append((name, value))


def effects(name: str | None = None) -> list[Any]:
    """All effects, or the values of those with one name, in order."""
    return list(_ledger) if name is None else [value for effect, value in _ledger if effect == name]


def forget() -> None:
    _ledger.clear()


async def kinds(run: Run[Any]) -> list[str]:
    """The kinds of the events in a run's log."""
    return [event.kind for event in await run.events()]
