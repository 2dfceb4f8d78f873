"""``outlive run``: a workflow as a script."""

from __future__ import annotations

import asyncio
import logging
import shlex
import sys
import traceback
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter
from msgspec import Struct

from outlive._runtime.run_ids import new_run_id
from outlive.cli import exits
from outlive.cli.arguments import read_arguments
from outlive.cli.modules import load_workflow
from outlive.cli.opening import under_hash_seed, working_url
from outlive.cli.options import AsJson, Url
from outlive.cli.output import print_json
from outlive.errors import RunCancelled, RunConflict, RunFailed, RunParked, RunTerminated
from outlive.scripts import run_to_end
from outlive.stores.urls import shown


class Ending(Struct, omit_defaults=True, kw_only=True):
    """How a run ended, as ``--json`` prints it."""

    run_id: str
    workflow: str
    status: str
    result: object = msgspec.UNSET
    error: dict[str, str] | None = None
    report: str | None = None


def run(
    target: str,
    args: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    /,
    *,
    run_id: str | None = None,
    url: Url = None,
    strict: bool = False,
    json: AsJson = False,
) -> int:
    """Run a workflow to its end and print its result.

    With --run-id the same command goes on where it was cut off, or gives the result again. Only this run and its children are worked on.

    Parameters
    ----------
    target
        module:workflow, or path/to/file.py:workflow
    args
        JSON: an array holds positional arguments, an object keyword arguments; anything else is one argument.
    run_id
        Name of the run; unset, a fresh one is made and printed.
    strict
        Refuse everything in the body that would differ on replay, at four times the cost of pure Python in it.
    """
    file = target.rpartition(":")[0]
    store = working_url(url, beside=Path(file).resolve().parent if file.endswith(".py") else None)
    under_hash_seed(store)
    workflow = load_workflow(target)
    positional, named = read_arguments(workflow, args)
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    name = run_id or new_run_id()
    if run_id is None:
        print(f"outlive: run {name}", file=sys.stderr)
    ending = Ending(run_id=name, workflow=workflow.name, status="completed")
    work = run_to_end(workflow.options(run_id=name), positional, named, url=store, guard="strict" if strict else None)
    try:
        ending.result = asyncio.run(work)
    except RunFailed as failed:
        ending.status = "failed"
        return _failed(ending, failed, json=json)
    except RunParked as parked:
        ending.status, ending.report = "parked", str(parked)
        return _ended(ending, str(parked), exits.PARKED, json=json)
    except RunCancelled as cancelled:
        ending.status = "cancelled"
        return _ended(ending, str(cancelled), exits.CANCELLED, json=json)
    except RunTerminated as terminated:
        ending.status = "terminated"
        return _ended(ending, str(terminated), exits.TERMINATED, json=json)
    except RunConflict as conflict:
        raise exits.Complaint(str(conflict)) from conflict
    except KeyboardInterrupt:
        again = ["outlive", "run", target, *([args] if args is not None else []), "--run-id", name]
        again += ["--url", shown(url)] if url else []
        exits.complain(f"interrupted, nothing is lost; go on with: {shlex.join(again)}")
        return exits.INTERRUPTED
    print_json(ending if json else ending.result)
    return exits.DONE


def _failed(ending: Ending, failed: RunFailed, *, json: bool) -> int:
    cause = failed.__cause__
    told = told_in_full(cause) if cause is not None else str(failed)
    if cause is not None:
        ending.error = {"type": type(cause).__qualname__, "message": str(cause), "traceback": told}
    return _ended(ending, f"run {ending.run_id} failed:\n{told}", exits.FAILED, json=json)


def _ended(ending: Ending, message: str, code: int, *, json: bool) -> int:
    if json:
        print_json(ending)
    else:
        exits.complain(message)
    return code


def told_in_full(error: BaseException) -> str:
    """``error`` with its causes and the tracebacks that were recorded, which are notes."""
    lines = traceback.format_exception_only(error)
    if error.__cause__ is not None:
        lines.append(f"Caused by:\n{told_in_full(error.__cause__)}")
    return "".join(lines).rstrip()
