"""Identifiers, as distinct types."""

from __future__ import annotations

import re
from typing import Final, NewType

RunId = NewType("RunId", str)
"""Names a run, and all links of its chain."""

WorkerId = NewType("WorkerId", str)
"""Names one life of a worker: a worker that lost its lease comes back under another id."""

TokenHash = NewType("TokenHash", str)
"""Hex SHA-256 of a hook's token: tokens themselves are not stored where they are looked up."""

StepId = NewType("StepId", str)
"""Stable across attempts and crashes; the idempotency key of a step (R9)."""

PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9_:-][A-Za-z0-9_.:-]{0,127}")
"""What names a stream or a queue (S17)."""


def step_id(run: RunId, link: int, ref: int, name: str) -> StepId:
    """The idempotency key of the step that ``ref`` names in this link of ``run``."""
    return StepId(f"{run}/{link}/{ref}/{name}")
