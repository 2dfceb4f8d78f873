"""How a command ends: its exit code, and the one line that says why."""

from __future__ import annotations

import sys
from typing import Final

DONE: Final = 0
FAILED: Final = 1
"""The run failed, or the command could not do what was asked."""
USAGE: Final = 2
"""Nothing was tried: a wrong argument, no such module, no store."""
PARKED: Final = 3
"""The run is parked, or a replay diverged."""
CANCELLED: Final = 4
TERMINATED: Final = 5
INTERRUPTED: Final = 130
PIPE_CLOSED: Final = 141

MEANINGS: Final = (
    "Exit codes: 0 done, 1 failed, 2 wrong usage (nothing was tried), 3 parked or diverged, "
    "4 cancelled, 5 terminated, 130 interrupted."
)


class Complaint(Exception):
    """Ends the command with one line on stderr."""

    def __init__(self, message: str, code: int = USAGE) -> None:
        super().__init__(message)
        self.code = code


def complain(message: str) -> None:
    """Say what is wrong."""
    print(f"outlive: {message}", file=sys.stderr)
