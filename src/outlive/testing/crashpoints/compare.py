"""What may differ between a performance with crashes and the undisturbed one, and what may not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from outlive.model import events as ev
from outlive.model.ids import RunId, step_id
from outlive.testing.crashpoints.trial import Trace, tell

_ECHOES: Final = (
    ev.StepStarted,  # rides in whatever commit leaves while the attempt runs (R10)
    ev.WaitCreated,  # one cancelled early leaves no trace (R16)
    ev.WaitCancelled,
    ev.StepRetrying,  # attempts are held against the ledger
)


def differences(trial: Trace, undisturbed: Trace, *, also: Sequence[object], same_log: bool = True) -> list[str]:
    """What is wrong with ``trial``; each in one line. With another outcome, one of ``also``, its log is another one too."""
    found = [*_ledger(trial), *(f"the audit says: {line}" for line in trial.audit)]
    if trial.outcome == undisturbed.outcome:
        if not same_log:
            return found
        found += _logs(trial, undisturbed)
        found += _never_begun(trial, undisturbed)
    elif trial.outcome not in also:
        found.append(f"the outcome is {trial.outcome!r}, undisturbed it is {undisturbed.outcome!r}")
    return found


def _ledger(trial: Trace) -> Iterator[str]:
    """What was recorded never begins again; every life begins an attempt once; ``at_most_once`` means all lives (R10)."""
    for begun in trial.begun:
        for number, death in enumerate(trial.deaths, 1):
            if begun.life > number and begun.step in death.recorded:
                yield f"{begun.step} was recorded in life {number} and began again in life {begun.life}"
            elif begun.life > number and (begun.step, begun.attempt) in death.tried:
                yield f"attempt {begun.attempt} of {begun.step} had ended and began again in life {begun.life}"
    for begun, times in Counter(trial.begun).items():
        if times > 1:
            yield f"attempt {begun.attempt} of {begun.step} began {times} times in life {begun.life}"
    once = Counter(begun.step for begun in trial.begun if begun.at_most_once)
    for step, times in once.items():
        if times > 1:
            yield f"{step} may begin once at most, and began {times} times"


def _never_begun(trial: Trace, undisturbed: Trace) -> Iterator[str]:
    """Every attempt of the undisturbed run was made, except of steps that were cancelled in one of the two."""
    cancelled = _cancelled(trial) | _cancelled(undisturbed)
    made = {(begun.step, begun.attempt) for begun in trial.begun}
    usual = {(begun.step, begun.attempt) for begun in undisturbed.begun}
    for step, attempt in sorted(made ^ usual):
        if step not in cancelled:
            what = "was made only with crashes" if (step, attempt) in made else "was never made"
            yield f"attempt {attempt} of {step} {what}"


def _cancelled(trace: Trace) -> set[str]:
    return {
        step_id(run, link, item.event.ref, item.event.name)
        for (run, link), log in trace.logs.items()
        for item in log
        if isinstance(item.event, ev.StepCancelled)
    }


def _logs(trial: Trace, undisturbed: Trace) -> Iterator[str]:
    in_flight = _in_flight(trial)
    for key in sorted(trial.logs.keys() | undisturbed.logs.keys()):
        log, usual = trial.logs.get(key), undisturbed.logs.get(key)
        if log is None or usual is None:
            yield f"link {key} is there only {'undisturbed' if log is None else 'with crashes'}"
            continue
        facts, others = _facts(key, log), _facts(key, usual)
        for ref in sorted(facts.keys() | others.keys()):
            here, there = facts.get(ref, []), others.get(ref, [])
            if here != there and not (ref in in_flight.get(key, ()) and _stopped(here, there)):
                yield (
                    f"ref {ref} of {key} is {here}, undisturbed it is {there}\n"
                    f"      with crashes: {tell(log)}\n      undisturbed:  {tell(usual)}"
                )


def _in_flight(trial: Trace) -> dict[tuple[RunId, int], set[int]]:
    """Refs of steps that a death may have cut off: they begin anew, end later, and may then be stopped where they were not, or not."""
    found: dict[tuple[RunId, int], set[int]] = {}
    for begun in trial.begun:
        if begun.life <= len(trial.deaths) and begun.step not in trial.deaths[begun.life - 1].recorded:
            run, link, ref = begun.step.rsplit("/", 3)[:3]
            found.setdefault((RunId(run), int(link)), set()).add(int(ref))
    return found


def _stopped(here: Sequence[str], there: Sequence[str]) -> bool:
    return any("step_cancelled" in "".join(facts) or not facts for facts in (here, there))


def _facts(key: tuple[RunId, int], log: Sequence[ev.Recorded]) -> dict[int, list[str]]:
    """By ref, in order: what happened, without times, epochs and counts."""
    facts: dict[int, list[str]] = {}
    for item in log:
        if not isinstance(item.event, _ECHOES):
            facts.setdefault(item.event.ref, []).append(_fact(key, item.event))
    return facts


def _fact(key: tuple[RunId, int], event: ev.Event) -> str:
    kind = ev.kind_of(event)
    match event:
        case ev.StepCompleted() | ev.StepFailed() | ev.StepCancelled():
            return f"{kind} {step_id(*key, event.ref, event.name)} {event.digest}"
        case ev.WaitCompleted():
            return f"{kind} {event.kind}{' woken' if event.woken else ''}"
        case ev.HookReceived() | ev.HookDiscarded():
            return f"{kind} {event.payload.raw!r}"
        case ev.ChildStarted() | ev.ChildCompleted():
            return f"{kind} {event.run_id}"
        case ev.CallCompleted() | ev.CallFailed():
            return f"{kind} {event.name} {event.digest}"
        case ev.Marker():
            return f"{kind} {event.id}"
        case _:
            return kind
