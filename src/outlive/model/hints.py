"""What one process tells the others: something may have changed. Never the truth itself, which is read from the store."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from outlive.model.ids import WorkerId


class Hint(Struct, frozen=True, omit_defaults=True):
    """What may have changed."""

    due: bool = False
    """There may be something to claim, or a message for any run."""
    workers: tuple[WorkerId, ...] = ()
    """Who should look into the inboxes of its runs."""
    about: tuple[str, ...] = ()
    """Runs that have ended or parked, requests that were answered, streams that were written to."""
    anything: bool = False

    def __bool__(self) -> bool:
        return self.due or self.anything or bool(self.workers) or bool(self.about)

    def __or__(self, other: Hint) -> Hint:
        if not other or not self:
            return self or other
        return Hint(
            due=self.due or other.due,
            workers=tuple(dict.fromkeys((*self.workers, *other.workers))),
            about=tuple(dict.fromkeys((*self.about, *other.about))),
            anything=self.anything or other.anything,
        )


ANYTHING: Final = Hint(anything=True)
