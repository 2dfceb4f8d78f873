"""Where the ids of runs come from."""

from __future__ import annotations

import contextvars
import hashlib

from uuid_utils import uuid7

from outlive._core.context import step_metadata
from outlive.model.ids import RunId

_starts_in_step: contextvars.ContextVar[dict[str, int]] = contextvars.ContextVar("outlive_starts")


def new_run_id() -> RunId:
    """A fresh id; ids sort by the time of their making."""
    return RunId(str(uuid7()))


def made_run_id(workflow: str, mark: str) -> RunId:
    """A fresh id, sorted by time; in a step one that its next attempt finds again (R36)."""
    about = step_metadata.get(None)
    if about is None:
        return new_run_id()
    metadata = about()
    counts: dict[str, int] | None = _starts_in_step.get(None)
    if counts is None:
        counts = {}
        _starts_in_step.set(counts)
    number = counts.get(metadata.step_id, 0)
    counts[metadata.step_id] = number + 1
    name = f"{metadata.step_id}\0{number}\0{workflow}\0{mark}"
    return RunId("s" + hashlib.blake2b(name.encode(), digest_size=16).hexdigest())
