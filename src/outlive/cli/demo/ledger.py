"""What the steps of the demo did, by their own account, and whether it is what it should be."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct

VARIABLE: Final = "OUTLIVE_DEMO_LEDGER"


class Line(Struct, frozen=True):
    """A step began or was done, in a process."""

    step: str
    what: Literal["began", "done"]
    pid: int
    step_id: str


_decoder: Final = msgspec.json.Decoder(Line)


def read(file: Path) -> list[Line]:
    """The lines that are whole."""
    try:
        text = file.read_bytes()
    except FileNotFoundError:
        return []
    return [_decoder.decode(line) for line in text.split(b"\n")[:-1]]


def faults(
    lines: Sequence[Line], *, expected: Collection[str], first: int, second: int, recorded: Collection[str]
) -> list[str]:
    """What contradicts "each of ``expected`` once": those ``recorded`` were durable when the process ``first`` was killed."""
    return list(_faults(lines, expected, first, second, recorded))


def _faults(
    lines: Sequence[Line], expected: Collection[str], first: int, second: int, recorded: Collection[str]
) -> Iterator[str]:
    if {line.pid for line in lines} != {first, second}:
        yield "the steps did not run in two processes"
    if unknown := {line.step for line in lines} - set(expected):
        yield f"steps that nobody called: {', '.join(sorted(unknown))}"
    for name in expected:
        mine = [line for line in lines if line.step == name]
        began = [line.pid for line in mine if line.what == "began"]
        done = [line.pid for line in mine if line.what == "done"]
        if not done:
            yield f"{name} was lost"
        elif len(done) > 1:
            yield f"{name} was done {len(done)} times"
        if name in recorded and began != [first]:
            yield f"{name} was recorded, and began again"
        if len(set(began)) != len(began):
            yield f"{name} began twice in one process"
        if len({line.step_id for line in mine}) > 1:
            yield f"{name} changed its step_id"
