"""What the next commit of a run carries: gathered until it leaves, put back if it did not happen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

from outlive.model import commands as cmd
from outlive.model import entries as en
from outlive.model import events as ev

if TYPE_CHECKING:
    from outlive._runtime.hotrun import HotRun

MAX_PROPOSALS: Final = 1_000
"""Events of one run in one commit."""

_STAYS: Final = frozenset(
    {
        ev.StepStarted,
        ev.StepCompleted,
        ev.StepFailed,
        ev.StepRetrying,
        ev.StepCancelled,
        ev.WaitCreated,
        ev.WaitCompleted,
        ev.Marker,
    }
)
"""Proposals that were found, not asked for by the body; and a marker, which is an answer that it has got (R38)."""

_IN_DOUBT: Final = frozenset({ev.StepFailed, ev.StepCancelled})
"""Of a step in a transaction: whether that has committed only the store knows."""

Held: TypeAlias = cmd.CallStep | cmd.EmitLog


class Outbox:
    """One per run in memory. Nothing in it has happened yet."""

    __slots__ = (
        "_held_in_flight",
        "_hot",
        "ack",
        "cancel_tasks",
        "held",
        "in_flight",
        "proposals",
        "release",
        "take",
        "unwatch",
        "watch",
    )

    def __init__(self, hot: HotRun) -> None:
        self._hot = hot
        self.proposals: list[en.Proposal] = []
        """Events, in their order."""
        self.watch: list[en.Watch] = []
        self.unwatch: list[int] = []
        self.ack: list[int] = []
        """Wake-ups that have been obeyed."""
        self.cancel_tasks: list[int] = []
        """Steps in queues that should end."""
        self.held: list[Held] = []
        """Begin once what was asked for before them is durable (rule 5)."""
        self.take: bool = False
        """Take in what others have sent."""
        self.release: bool = False
        """Give up the claim, if nothing comes between."""
        self.in_flight: en.RunCommit | None = None
        self._held_in_flight: list[Held] = []

    @property
    def waiting(self) -> bool:
        """Something in it, or on its way, can't be left to whoever has the run next: more than waits, which start again anyway."""
        return bool(
            self.held
            or self._held_in_flight
            or self.take
            or self.watch
            or self.unwatch
            or self.ack
            or self.cancel_tasks
            or any(type(proposal) not in (ev.WaitCreated, ev.WaitCancelled) for proposal in self.proposals)
        )

    @property
    def may_go_ahead(self) -> bool:
        """Nothing is in it, or on its way, but events (R34)."""
        return self.in_flight is None and not (self.take or self.release or self.held or self._held_in_flight)

    # --- to the journal ----------------------------------------------------------------------------------------------

    def collect(self, *, release: bool, judge: en.Judge | None, time: float | None) -> en.RunCommit | None:
        """All of it as one commit, which is then in flight; None if there is nothing.

        Args:
            release: The claim may really be given up now.
            judge: Decides whether a payload that is taken in fits its hook.
            time: Log time of an event that a body has been shown already.
        """
        hot = self._hot
        special = (
            self.take or release or hot.streaming or bool(self.watch or self.unwatch or self.ack or self.cancel_tasks)
        )
        if not (self.proposals or special):
            return None
        proposals = tuple(self.proposals[:MAX_PROPOSALS])
        del self.proposals[: len(proposals)]
        in_doubt = tuple(p.ref for p in proposals if type(p) in _IN_DOUBT and hot.in_transaction(p.ref))
        last = proposals[-1] if proposals else None
        continued = last if isinstance(last, ev.RunContinued) else None
        if special or continued is not None:
            commit = self._special(proposals, continued, in_doubt, release=release, judge=judge, time=time)
        else:
            commit = en.RunCommit(
                run=hot.run,
                link=hot.link,
                epoch=hot.epoch,
                seq=hot.seq,
                proposals=proposals,
                in_doubt=in_doubt,
                time=time,
            )
        if not self.proposals and self.held:
            self._held_in_flight, self.held = self.held, []
        self.in_flight = commit
        return commit

    def _special(
        self,
        proposals: tuple[en.Proposal, ...],
        continued: ev.RunContinued | None,
        in_doubt: tuple[int, ...],
        *,
        release: bool,
        judge: en.Judge | None,
        time: float | None,
    ) -> en.RunCommit:
        """A commit that does more than append."""
        hot = self._hot
        # what goes into its queue with a later commit can't be cancelled by this one
        later = {p.ref for p in self.proposals if type(p) is ev.StepScheduled} if self.cancel_tasks else set[int]()
        commit = en.RunCommit(
            run=hot.run,
            link=hot.link,
            epoch=hot.epoch,
            seq=hot.seq,
            proposals=proposals,
            in_doubt=in_doubt,
            watch=tuple(self.watch),
            unwatch=tuple(self.unwatch),
            take=self.take,
            judge=judge if self.take else None,
            ack=tuple(self.ack),
            cancel_tasks=tuple(ref for ref in self.cancel_tasks if ref not in later),
            streams=hot.streams.take() if hot.streaming else (),
            release=release and not self.proposals,
            undelivered=() if continued is None else hot.undelivered(),
            unheard_cancel=continued is not None and hot.unheard_cancel,
            next_link=None if continued is None else hot.owner.next_link(hot, continued),
            time=time,
        )
        self.watch, self.unwatch, self.ack = [], [], []
        self.cancel_tasks = [ref for ref in self.cancel_tasks if ref in later]
        self.take, self.release = bool(self.cancel_tasks), False
        return commit

    # --- back from it ------------------------------------------------------------------------------------------------

    def put_back(self) -> None:
        """What is in flight did not happen."""
        commit = self.settled()
        self.proposals[:0] = commit.proposals
        self.watch[:0] = commit.watch
        self.unwatch[:0] = commit.unwatch
        self.ack[:0] = commit.ack
        self.cancel_tasks[:0] = commit.cancel_tasks
        if commit.streams:
            self._hot.streams.put_back(commit.streams)
        self.take = self.take or commit.take
        self.release = self.release or commit.release
        self.held[:0] = self.freed()

    def settled(self) -> en.RunCommit:
        """What was in flight, whatever became of it."""
        commit, self.in_flight = self.in_flight, None
        assert commit is not None, "nothing was in flight"
        return commit

    def freed(self) -> list[Held]:
        """What was held back for the commit that has settled."""
        held, self._held_in_flight = self._held_in_flight, []
        return held

    def unhold(self) -> list[Held]:
        """What is held back, when there is nothing to wait for."""
        held, self.held = self.held, []
        return held

    # --- given up ----------------------------------------------------------------------------------------------------

    def keep_facts(self) -> None:
        """Drop what the body asked for: it will ask again. But for what it does not do again on replay."""
        self.proposals = [proposal for proposal in self.proposals if type(proposal) in _STAYS]
        self.held = [command for command in self.held if isinstance(command, cmd.EmitLog)]
        self.watch.clear()
        self.unwatch.clear()
        self.cancel_tasks.clear()

    def forget_cancelled(self, ended: set[int]) -> None:
        """Steps that have ended in the meantime."""
        self.proposals = [p for p in self.proposals if type(p) is not ev.StepCancelled or p.ref not in ended]

    def clear(self) -> None:
        """Drop all that has not left."""
        self.proposals.clear()
        self.held.clear()
        self.watch.clear()
        self.unwatch.clear()
        self.ack.clear()
        self.cancel_tasks.clear()
        self.take = self.release = False


def size_of(proposals: Sequence[en.Proposal]) -> int:
    """About how many bytes they are."""
    size = 200 * len(proposals)
    for proposal in proposals:
        if type(proposal) is ev.StepScheduled:
            size += len(memoryview(proposal.input))
        elif type(proposal) is ev.StepCompleted:
            size += len(memoryview(proposal.input)) + len(memoryview(proposal.result))
        elif type(proposal) is ev.StepFailed:
            size += len(memoryview(proposal.input)) + len(memoryview(proposal.error))
    return size
