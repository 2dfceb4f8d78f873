"""What is printed: rich on a terminal, stable lines in a pipe, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec

from outlive.views import plain

if TYPE_CHECKING:
    from rich.console import Console

STYLES: Final = {
    "completed": "green",
    "running": "cyan",
    "pending": "dim",
    "waiting": "cyan",
    "open": "cyan",
    "retrying": "yellow",
    "queued": "cyan",
    "parked": "bold magenta",
    "failed": "bold red",
    "cancelled": "yellow",
    "terminated": "yellow",
}


_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def on_terminal() -> bool:
    return sys.stdout.isatty()


def console() -> Console:
    """The terminal."""
    from rich.console import Console

    return Console(highlight=False)


def line(*fields: object) -> None:
    """One line of a pipe: fields between tabs, so that ``cut`` and ``awk`` can read it."""
    print("\t".join(str(field).replace("\t", " ").replace("\n", " ") for field in fields))


def print_json(value: object) -> None:
    """``value`` as JSON: indented on a terminal, one line in a pipe."""
    text = to_json(value)
    print(msgspec.json.format(text, indent=2) if on_terminal() else text)


def to_json(value: object) -> str:
    """``value`` as one line of JSON; what JSON can't say is said as text."""
    try:
        return msgspec.json.encode(plain(value)).decode()
    except (ValueError, OverflowError):  # an integer of more than 64 bits
        return json.dumps(plain(value), default=repr, separators=(",", ":"))


def iso(epoch: float | datetime | None) -> str:
    """A moment for programs: UTC, to the millisecond."""
    if epoch is None:
        return "-"
    moment = epoch if isinstance(epoch, datetime) else datetime.fromtimestamp(epoch, UTC)
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def local(epoch: float | datetime | None) -> str:
    """A moment for people: in their time zone."""
    if epoch is None:
        return "-"
    moment = epoch if isinstance(epoch, datetime) else datetime.fromtimestamp(epoch, UTC)
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def length(seconds: float | None) -> str:
    """A length of time in two units at most."""
    if seconds is None:
        return ""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, smaller, name in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit} {rest} {name}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"


def from_now(epoch: float, now: float) -> str:
    """``in 2 h``, ``3 min ago``: about when."""
    away = abs(epoch - now)
    about = next((f"{away // size:.0f} {unit}" for size, unit in _UNITS if away >= size), "a moment")
    return f"in {about}" if epoch > now else f"{about} ago"


def cut(text: str, width: int = 60) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


def table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Columns on a terminal; cells may carry markup."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False, header_style="dim")
    for place, heading in enumerate(headings):
        made.add_column(heading, overflow="fold", no_wrap=place < 2)  # an id is there to be copied
    for row in rows:
        made.add_row(*row)
    console().print(made)


def styled(status: str) -> str:
    """``status`` in its colour."""
    style = STYLES.get(status)
    return f"[{style}]{status}[/]" if style else status
