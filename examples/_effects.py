"""What the examples do to the world: they print. Tests count the effects in the file that $OUTLIVE_EFFECTS names."""

from __future__ import annotations

import json
import os

from outlive import NotInWorkflow, get_step_metadata


def effect(what: str, detail: object = "", *, quiet: bool = False) -> None:
    """Do ``what``: called by a step at the moment when it changes something outside."""
    ledger = os.environ.get("OUTLIVE_EFFECTS")
    if ledger:
        _append(ledger, what, detail)
    if not quiet:
        print(f"  {what} {detail}".rstrip(), flush=True)


def _append(ledger: str, what: str, detail: object) -> None:
    line: dict[str, object] = {"what": what, "detail": str(detail), "pid": os.getpid()}
    try:
        step = get_step_metadata()
        line |= {"step_id": step.step_id, "attempt": step.attempt}
    except NotInWorkflow:
        pass  # the step was called as a plain function: the effect is written without its id
    file = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, json.dumps(line).encode() + b"\n")
        os.fsync(file)
    finally:
        os.close(file)
