"""``outlive replay``: a recorded run held against today's code."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from outlive._core.authoring import Workflow
from outlive._core.guard import Guard, GuardMode
from outlive._runtime.replaying import Verdict
from outlive._runtime.replaying import replay as replay_log
from outlive.cli import exits
from outlive.cli.modules import load, load_modules
from outlive.cli.opening import existing_url, record_of, under_hash_seed
from outlive.cli.options import AsJson, Url
from outlive.cli.output import iso, print_json
from outlive.cli.run import told_in_full
from outlive.engine import Engine
from outlive.handles import Run
from outlive.model import events as ev
from outlive.model.ids import RunId
from outlive.model.records import RunRecord


class Recording(Struct):
    """A link of a run, read and ready to be replayed."""

    engine: Engine
    record: RunRecord
    link: int
    log: Sequence[ev.Recorded]

    def replay(self, workflow: Workflow[..., Any], on_command: Callable[[int], None] | None = None) -> Verdict:
        return replay_log(
            self.log,
            run=self.record.id,
            link=self.link,
            workflow=workflow,
            codec=self.engine.codec,
            guard=Guard(GuardMode.STRICT),
            make_handle=lambda run: Run[Any](run, self.engine),
            on_command=on_command,
        )


def replay(
    run: str, /, *modules: str, link: int | None = None, pdb: bool = False, url: Url = None, json: AsJson = False
) -> int:
    """Replay a recorded run against today's code: nothing is executed, nothing is written.

    Exit code 0 if the code still does what the log says, 3 if they diverge. Use it before a deploy.

    Parameters
    ----------
    modules
        Modules or files that hold the workflow and its steps, unless the workflow's name says where it is.
    link
        Of a run that continued as new: which of its links (the newest).
    pdb
        Under the debugger: stops where the body begins, and where it diverges.
    """
    store = asyncio.run(existing_url(url))
    under_hash_seed(store)
    load_modules(modules)
    recording = asyncio.run(_read(store, run, link))
    workflow = _workflow(recording, modules)
    verdict = recording.replay(workflow)
    if pdb:
        _debug(recording, workflow, verdict)
    if json:
        print_json(_for_programs(recording, verdict))
    else:
        _tell(recording, verdict)
    return exits.DONE if verdict.divergence is None else exits.PARKED


async def _read(url: str, run: str, link: int | None) -> Recording:
    async with Engine(url, worker=False) as engine:
        record = await record_of(engine, run)
        number = record.link if link is None else link
        if not 1 <= number <= record.link:
            raise exits.Complaint(f"run {run} has links 1 to {record.link}")
        return Recording(engine, record, number, await engine.store.log(record.id, number))


def _workflow(recording: Recording, modules: tuple[str, ...]) -> Workflow[..., Any]:
    """The workflow of the run; without ``modules`` from the module that its name begins with."""
    registry, name = recording.engine.registry, recording.record.workflow
    if registry.workflows.get(name) is None and not modules and ":" in name:
        load(name.partition(":")[0])
    found = registry.workflows.get(name)
    if found is None:
        raise exits.Complaint(
            f"no workflow {name!r} is known here; name the module or file that holds it: outlive replay {recording.record.id} MODULE"
        )
    return found


def _debug(recording: Recording, workflow: Workflow[..., Any], verdict: Verdict) -> None:
    from outlive.cli.debugging import Debugger

    divergence = verdict.divergence
    debugger = Debugger(stop_at_ref=divergence.ref if divergence is not None else 0)
    with debugger.watching(workflow.fn):
        again = recording.replay(workflow, debugger.on_command)
    if not debugger.left and again.divergence is not None and again.divergence.ref and not debugger.stopped_at_ref:
        print(f"the code issues no command number {again.divergence.ref}; nothing to stop at")


def _tell(recording: Recording, verdict: Verdict) -> None:
    of = f"{len(recording.log)} events" + (f" of link {recording.link}" if recording.record.link > 1 else "")
    divergence = verdict.divergence
    if divergence is None:
        print(f"OK: today's code does what {of} of run {recording.record.id} say")
        _tell_what_is_open(recording, verdict)
        return
    print(f"DIVERGED at event {divergence.seq} of {of} of run {recording.record.id}: {divergence.reason}")
    if divergence.recorded:
        print(f"recorded:  {divergence.recorded}")
        print(f"attempted: {divergence.attempted}")
    if divergence.where:
        print(f"at:        {divergence.where}")
    for note in divergence.notes:
        print(note)
    if verdict.error is not None:
        print(f"The body ended with:\n{told_in_full(verdict.error)}")


def _tell_what_is_open(recording: Recording, verdict: Verdict) -> None:
    if type(recording.log[-1].event) in ev.TERMINAL:
        return
    if verdict.ended:
        print("the body has come to its end; a worker would end the run now")
        return
    if recording.record.status == "parked":
        print(
            f"it is parked ({recording.record.reason}); a worker with this code takes it up again, at once after: "
            f"outlive wake {recording.record.id}"
        )
    for pending in verdict.pending:
        due = f" until {iso(pending.due)}" if pending.due is not None else ""
        print(f"waiting: {pending.what}{due}" + (f" at {pending.where}" if pending.where else ""))


def _for_programs(recording: Recording, verdict: Verdict) -> dict[str, object]:
    return {
        "run_id": RunId(recording.record.id),
        "link": recording.link,
        "ok": verdict.divergence is None,
        "events": len(recording.log),
        "replayed": verdict.events,
        "ended": verdict.ended,
        "waiting": [
            {
                "ref": item.ref,
                "what": item.what,
                "where": item.where,
                "due": iso(item.due) if item.due is not None else None,
            }
            for item in verdict.pending
        ],
        "divergence": verdict.divergence,
        "error": told_in_full(verdict.error) if verdict.error is not None else None,
    }
