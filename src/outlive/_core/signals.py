"""What steers the engine from inside a body. All of it stands outside ``Exception``, so that no ``except Exception`` of a user stops it."""

from __future__ import annotations

from collections.abc import Mapping


class ContinueAsNew(BaseException):
    """Ends this link of the chain; ``arguments`` are those of the next."""

    def __init__(self, arguments: Mapping[str, object]) -> None:
        super().__init__("continue_as_new() must reach the end of the workflow; do not catch BaseException around it")
        self.arguments = arguments


class Inert(BaseException):
    """Raised by whatever a dropped run does through Outlive: it is no longer in memory, and a later life will do it (R24)."""


class Diverged(Exception):
    """Code and log disagree.

    Attributes:
        ref: The command at which they do, 0 for the run itself.
        recorded: What the log says.
        attempted: What the code did instead.
    """

    def __init__(self, *, ref: int, recorded: str, attempted: str) -> None:
        super().__init__(f"the log has {recorded}, the code {attempted}")
        self.ref = ref
        self.recorded = recorded
        self.attempted = attempted


class Undecodable(Exception):
    """A value in the run's own log can't be rebuilt here."""


class Discarded(Exception):
    """The activation met something that says nothing of the workflow (no memory, an interrupt); replay it later (R12)."""


class Blocked(BaseException):
    """Raised by the watchdog into a body that does not give the loop back (R28)."""
