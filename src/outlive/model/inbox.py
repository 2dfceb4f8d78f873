"""How messages from outside take their place in a log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal, TypeAlias

from msgspec import Raw, Struct

from outlive.model import events as ev
from outlive.model.entries import Proposal
from outlive.model.events import Payload
from outlive.model.ids import RunId, TokenHash

MessageKind: TypeAlias = Literal["payload", "cancel", "wake", "child", "step"]
EndStatus: TypeAlias = Literal["completed", "failed", "cancelled", "terminated", "not_found"]

_LAST: Final = ev.TERMINAL | {ev.RunParked}


class InboxItem(Struct, frozen=True, kw_only=True):
    """A message in a run's inbox."""

    id: int
    kind: MessageKind
    accepted: float
    link: int = 1
    ref: int = 0
    """The hook or the watch; 0 with a ``token_hash``: the token is held for the next link, which has not opened it yet (R8)."""
    token_hash: TokenHash | None = None
    payload: Payload | None = None
    run_id: RunId | None = None
    """Of ``child``: which run ended, how, and with what."""
    status: EndStatus = "completed"
    outcome: Raw = ev.NOTHING
    ending: ev.StepEnding | None = None
    """Of ``step``: how an attempt in a queue ended."""

    @property
    def held(self) -> bool:
        """It waits for a link that has not opened its hook: nobody can take it yet."""
        return self.ref == 0 and self.kind == "payload"


def to_event(item: InboxItem) -> ev.HookReceived | ev.CancelRequested | ev.ChildCompleted | ev.StepEnding | None:
    """The event that delivers ``item``; None for a wake-up, whose effect its owner decides (R38)."""
    match item.kind:
        case "payload":
            assert item.payload is not None, "a payload message without a payload"
            return ev.HookReceived(ref=item.ref, payload=item.payload, accepted=item.accepted)
        case "cancel":
            return ev.CancelRequested()
        case "child":
            assert item.run_id is not None, "a child message without a run"
            return ev.ChildCompleted(ref=item.ref, run_id=item.run_id, status=item.status, outcome=item.outcome)
        case "step":
            assert item.ending is not None, "a step message without an ending"
            return item.ending
        case "wake":
            return None


def arrange(proposals: Sequence[Proposal], items: Iterable[InboxItem]) -> list[Proposal]:
    """The proposals of one commit and the inbox taken in by it, in log order (R15).

    First what the owner found, then messages and due waits by time (inbox before timer, then ref), last what ends or parks the
    run. A payload whose hook is disposed, or whose run ends, in this very commit is discarded, visibly (R18). How a step in a queue
    has ended is recorded in any case: for a body that is done with it instead of "unknown", for nobody where a run is terminated.
    """
    items = list(items)
    last = [p for p in proposals if type(p) in _LAST]
    ended = any(type(p) in ev.TERMINAL for p in last)  # a parked run still wants its messages
    terminated = any(type(p) is ev.RunTerminated for p in last)
    endings = {item.ref: item.ending for item in items if type(item.ending) in ev.ENDS_STEP}
    cancelled = {p.ref for p in proposals if type(p) is ev.StepCancelled}
    disposed = {p.ref for p in proposals if type(p) is ev.HookDisposed}
    found: list[Proposal] = []
    timed: list[tuple[float, int, int, Proposal]] = []
    for proposal in proposals:
        if type(proposal) is ev.WaitCompleted:
            timed.append((proposal.due, 1, proposal.ref, proposal))
        elif type(proposal) is ev.StepCancelled:
            found.append(endings.get(proposal.ref) or proposal)
        elif type(proposal) not in _LAST:
            found.append(proposal)
    for item in items:
        event = to_event(item)
        if event is None or (item.kind == "step" and event.ref in cancelled):
            continue
        if ended or (item.kind == "payload" and item.ref in disposed):
            if type(event) is ev.HookReceived:
                found.append(ev.HookDiscarded(ref=event.ref, payload=event.payload, accepted=event.accepted))
            elif terminated and type(event) in ev.ENDS_STEP:
                found.append(event)
            # else nobody is left to be told
        else:
            timed.append((item.accepted, 0, item.id, event))
    timed.sort(key=lambda entry: entry[:3])
    return [*found, *(entry[3] for entry in timed), *last]
