"""The worker: takes runs, brings them to life, and lets them go."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import random
import secrets
from collections.abc import Callable
from typing import Final

from outlive._codec import Codec
from outlive._core.guard import Guard
from outlive._core.machine import Machine
from outlive._core.registry import Registry
from outlive._runtime import versions
from outlive._runtime.claims import Claims
from outlive._runtime.executor import Executor
from outlive._runtime.hotrun import HotRun
from outlive._runtime.journal import Journal
from outlive._runtime.lease import Lease
from outlive._runtime.options import WorkerOptions
from outlive._runtime.queues import Queues
from outlive._runtime.revival import UNREADABLE, Revival, unreadable
from outlive._runtime.suspects import Suspects
from outlive._runtime.timers import Timers
from outlive._runtime.transactions import Begin, Transactions
from outlive._runtime.watchdog import Watchdog
from outlive.errors import StoreError, StoreUnavailable
from outlive.model import commands as cmd
from outlive.model import entries as en
from outlive.model import events as ev
from outlive.model.ids import RunId, WorkerId
from outlive.model.records import ServiceRecord
from outlive.model.streams import streams_of
from outlive.stores.protocol import Clock, Store

log: Final = logging.getLogger("outlive.worker")

LEAST_FLUSH: Final = 10.0
"""Seconds that a worker which closes takes at least to write what it has found."""
CRASHES_BEFORE_PARKING: Final = 5


class Worker:
    """Owns runs. One per engine; lives on the engine's event loop."""

    def __init__(
        self,
        *,
        store: Store,
        journal: Journal,
        registry: Registry,
        codec: Codec,
        guard: Guard,
        clock: Clock,
        base: contextvars.Context,
        options: WorkerOptions,
        make_handle: Callable[[RunId], object],
        on_left: Callable[[RunId, ev.RunOutcome | None], None],
        on_hopeless: Callable[[], None],
        on_news: Callable[[tuple[str, ...]], None] = lambda _about: None,
        base_url: str = "",
        root: RunId | None = None,
        transactions: Begin | None = None,
    ) -> None:
        self.journal = journal
        self.clock = clock
        self.replay_always: bool = options.replay_always
        self.goes_ahead: bool = store.one_clock and not options.replay_always
        """Whether bodies may be shown what is not durable yet (R34): not where another machine's clock gives the time of events."""
        self.hot: dict[RunId, HotRun] = {}
        self.timers: Timers = Timers(clock)
        self.executor: Executor = Executor(
            registry=registry,
            codec=codec,
            clock=clock,
            base=base,
            cancel_grace=options.cancel_grace,
            max_async=options.max_steps,
            threads=options.max_threads,
            processes=options.max_processes,
            transactions=Transactions(store, transactions),
        )
        self._store = store
        self._registry = registry
        self._options = options
        self.lease: Lease = self._new_lease(WorkerId(""))
        """Of this life. Before the first there is one that never stands."""
        self._on_left = on_left
        """Told of every run that leaves this worker's memory, with its outcome if it has ended."""
        self._on_hopeless = on_hopeless
        self._random = random.Random()
        self._hatching: dict[RunId, asyncio.Task[None]] = {}
        self._loop = asyncio.get_running_loop()
        self._claims = Claims(self, store, registry, options, root=root)
        self.suspects: Suspects = self._claims.suspects
        self._tasks: list[asyncio.Task[None]] = []
        self.closing: bool = False
        self._on_news = on_news
        self.watchdog: Watchdog = Watchdog(options.block_warning, options.block_limit, on_hopeless=self._hopeless)
        self._revival = Revival(
            store=store,
            registry=registry,
            codec=codec,
            guard=guard,
            watchdog=self.watchdog,
            make_handle=make_handle,
            base_url=base_url,
        )
        self.queues: Queues = Queues(
            self,
            registry,
            codec,
            queues=options.queues,
            limits=options.queue_limits,
            rooms={"async": options.max_queued, "thread": options.max_threads, "process": options.max_processes},
        )
        self._service: ServiceRecord | None = None
        """What others see that this worker works on."""
        self._fingerprint: str | None = None

    # --- life --------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        await self._join()
        self.journal.on_mended = self.look_for_strays
        self.watchdog.start()
        self._tasks = [asyncio.get_running_loop().create_task(self._claims.run(), name="outlive-claims")]

    async def close(self, grace: float) -> None:
        """Let running attempts end within ``grace`` seconds, write what is known, give up all claims."""
        self.closing = True
        self._revival.close()
        tasks = [*self._tasks, *self._hatching.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.executor.close(grace)
        with contextlib.suppress(TimeoutError):  # a body that writes on and on is never done
            async with asyncio.timeout(max(grace, LEAST_FLUSH)):
                await self.journal.flush()
        self.queues.drop()
        self.timers.close()
        for hot in list(self.hot.values()):
            hot.drop()
            self._remove(hot)
        self.lease.end()
        self.watchdog.stop()
        try:
            await self._store.leave(self.id)
        except StoreError as error:
            log.warning("the store can't be told that this worker leaves; its lease will run out: %s", error)

    async def awake(self) -> None:
        """Begin a new life if this one is over."""
        if self.lease.over:
            self.lease_lost(self.lease)
        if self.journal.worker is None:
            await self._join()

    async def _join(self) -> None:
        """Begin a new life of this worker."""
        worker = WorkerId(secrets.token_hex(8))
        await self._store.join(worker, lease=self._options.lease)
        await self.serve(worker)
        self.lease = self._new_lease(worker)
        self.lease.keep()
        self.suspects.begin()
        self.journal.worker = worker

    def _new_lease(self, worker: WorkerId) -> Lease:
        return Lease(self._store, worker, self._options.lease, self.clock, on_lost=self.lease_lost)

    @property
    def id(self) -> WorkerId:
        """Of this life."""
        return self.lease.worker

    async def serve(self, worker: WorkerId | None = None) -> None:
        """Let others see what is worked on here, when that has changed: more code may have been imported."""
        worker = self.id if worker is None else worker
        names = tuple(self._registry.workflows.names()), tuple(self._registry.steps.names())
        service = ServiceRecord(worker=worker, queues=self._options.queues, workflows=names[0], steps=names[1])
        if service != self._service:
            await self._store.serve(service)
            self._service = service

    def serves(self, queue: str) -> bool:
        return self._options.queues is None or queue in self._options.queues

    def lease_lost(self, lease: Lease) -> None:
        if lease is not self.lease or self.journal.worker is None:
            return  # it is known already
        log.error("worker %s lost its lease; dropping its %d runs and starting over", self.id, len(self.hot))
        self.journal.worker = None
        for hot in list(self.hot.values()):
            hot.abandon()
            self._remove(hot)
        for hatching in self._hatching.values():
            hatching.cancel()
        self._hatching.clear()
        self.queues.drop()
        lease.end()
        self.poke()

    def _hopeless(self) -> None:
        """A body can't be stopped: let the lease go, so that others take over what else is here (R28). In the watchdog's thread."""
        self.lease.end()
        self._on_hopeless()
        with contextlib.suppress(RuntimeError):  # the loop is closed
            # if the body ends one day after all, this worker begins a new life
            self._loop.call_soon_threadsafe(self.poke)

    # --- claiming ----------------------------------------------------------------------------------------------------

    def poke(self) -> None:
        """There may be something to claim."""
        self._claims.poke()

    async def look(self) -> None:
        """Look once, now: after this, a run that is still parked is parked for the code that runs here."""
        await self._claims.look()

    def runs_here(self) -> set[RunId]:
        """Runs in memory, or on their way there."""
        return {*self.hot, *self._hatching}

    @property
    def here(self) -> int:
        """How many they are."""
        return len(self.hot) + len(self._hatching)

    @property
    def busy(self) -> bool:
        """There are some."""
        return self.here > 0

    async def look_for_knocks(self) -> None:
        if self.hot:
            for run in await self._store.knocks(self.id):
                self.knock(run)

    def knock(self, run: RunId) -> None:
        """A message was put into the inbox of ``run``."""
        hot = self.hot.get(run)
        if hot is not None:
            hot.knock()

    def can_adopt(self, queue: str) -> bool:
        """Whether there is room for one more run, and it may be one of ``queue``."""
        return self.journal.worker is not None and self.serves(queue) and self._claims.room() > 0 and not self.closing

    def created(self, created: en.Created) -> None:
        """This engine has created a run. If it has claimed it in this life, it goes on from memory (R34)."""
        if created.owner != self.journal.worker or created.owner is None:
            self.poke()
            return
        hot = HotRun(
            self,
            lease=self.lease,
            run=created.id,
            link=1,
            epoch=created.epoch,
            root=created.id,
            log=list(created.events),
            fresh=True,
        )
        self.hot[hot.run] = hot
        self._claims.met(hot.run)
        self._revival.wake(hot, takeover=False)

    def hatch(self, claimed: en.Claimed) -> None:
        """It is this worker's now."""
        log.info("run %s of %s: %s", claimed.run, claimed.workflow, "taken over" if claimed.takeover else "taken up")
        if claimed.suspect:
            self.suspects.taken(claimed.run)
        task = asyncio.get_running_loop().create_task(self._bring_to_life(claimed, self.lease))
        self._hatching[claimed.run] = task
        task.add_done_callback(lambda task: self._hatched(claimed.run, task))

    def _hatched(self, run: RunId, task: asyncio.Task[None]) -> None:
        if self._hatching.get(run) is task:
            del self._hatching[run]

    async def _bring_to_life(self, claimed: en.Claimed, lease: Lease) -> None:
        try:
            events = await self._revival.read_log(claimed.run, claimed.link)
        except Exception as error:
            # an event that this code does not know, or a damaged row: nobody can go on with it here
            await self._park_unread(claimed, lease, error)
            return
        if lease.over:
            return  # and with it what was claimed under it; it may be in memory again, under the next
        hot = HotRun(
            self,
            lease=lease,
            run=claimed.run,
            link=claimed.link,
            epoch=claimed.epoch,
            root=claimed.root,
            log=events,
            # begun by this very claim: nobody has seen that yet
            fresh=type(events[-1].event) is ev.RunStarted and events[-1].epoch == claimed.epoch,
            careful=claimed.suspect or claimed.crashes > 0,
        )
        self.hot[claimed.run] = hot
        # from here on only this worker tells; what others wrote before is to be read
        self.news((streams_of(claimed.run),))
        if claimed.crashes >= CRASHES_BEFORE_PARKING:
            report = (
                f"{claimed.crashes} times a worker died, and of its runs only this one had done nothing since it was taken up; if it "
                "was another's doing, wake it: outlive wake RUN"
            )
            hot.park("it kills its workers", report)
            return
        asyncio.get_running_loop().call_soon(lambda: self._revival.wake(hot, takeover=True))

    async def _park_unread(self, claimed: en.Claimed, lease: Lease, error: Exception) -> None:
        log.critical("the log of run %s can't be read; run `outlive doctor`", claimed.run, exc_info=error)
        parked = ev.RunParked(reason=UNREADABLE, report=unreadable(error), fingerprint=self.fingerprint())
        commit = en.RunCommit(
            run=claimed.run, link=claimed.link, epoch=claimed.epoch, seq=claimed.seq, proposals=(parked,)
        )
        while not lease.over:
            try:
                await self.journal.request(commit, then=lambda _outcome: self._on_left(claimed.run, None))
            except StoreUnavailable:
                await asyncio.sleep(1.0)
            else:
                return

    # --- what hot runs need (hotrun.Owner) ---------------------------------------------------------------------------

    def acquitted(self, run: RunId) -> None:
        self.suspects.acquit(run)

    def build(self, hot: HotRun) -> Machine:
        return self._revival.build(hot)

    def reload(self, hot: HotRun, why: BaseException) -> None:
        log.warning("run %s is read again and replayed: %s", hot.run, why)
        self._revival.reload(hot, why)

    def linger(self) -> float:
        """How long a run with nothing in flight should stay."""
        crowded = len(self.hot) > self._options.max_idle or self.suspects.making_way
        return 0.0 if crowded else self._options.linger

    def chance(self) -> float:
        return self._random.random()

    def fingerprint(self) -> str:
        """Of the code, the engine and the Python that run here."""
        if self._fingerprint is None:
            self._fingerprint = versions.fingerprint(self._registry.fingerprint())
        return self._fingerprint

    def new_run(self, command: cmd.StartChild, parent: HotRun) -> en.NewRun:
        return versions.new_run(
            id=command.run_id,
            workflow=command.workflow,
            input=command.input,
            digest=command.digest,
            tags=command.tags,
            queue=command.queue,
            parent=ev.Parent(parent.run, parent.link, command.ref),
            root=parent.root,
        )

    def next_link(self, hot: HotRun, outcome: ev.RunContinued) -> en.NewRun:
        return versions.new_run(
            id=hot.run,
            workflow=hot.created.workflow,
            input=outcome.input,
            digest="",
            parent=hot.created.parent,
            root=hot.root,
        )

    def continued(self, hot: HotRun, events: tuple[ev.Recorded, ...]) -> None:
        following = HotRun(
            self,
            lease=hot.lease,
            run=hot.run,
            link=hot.link + 1,
            epoch=hot.epoch,
            root=hot.root,
            log=list(events),
            fresh=True,
        )
        self.hot[hot.run] = following
        self._revival.wake(following, takeover=False)
        following.knock()

    def gone(self, hot: HotRun) -> None:
        self._remove(hot)
        self.poke()

    def ended(self, hot: HotRun, outcome: ev.RunOutcome) -> None:
        log.info("run %s of %s: %s", hot.run, hot.created.workflow, ev.kind_of(outcome).removeprefix("run_"))
        self._remove(hot, outcome)

    def parked(self, hot: HotRun) -> None:
        log.warning("run %s of %s: parked; see: outlive show %s", hot.run, hot.created.workflow, hot.run)
        self._remove(hot)

    def lost(self, hot: HotRun) -> None:
        log.warning("run %s is not as this worker knows it: it belongs to another now, or has gone on unseen", hot.run)
        self._remove(hot)
        self.lease.check()
        self.look_for_strays()

    def look_for_strays(self) -> None:
        """A commit has happened though the store could not say so (rule 4)."""
        self._claims.expect_strays()

    def told(self, runs: tuple[RunId, ...]) -> None:
        """Messages were put into the inboxes of ``runs`` by a commit of this worker."""
        for run in runs:
            self.knock(run)
        self.poke()

    def news(self, about: tuple[str, ...]) -> None:
        """Something that others may wait for is durable: an answer, chunks of a stream."""
        self._on_news(about)

    def holds(self, run: RunId) -> bool:
        """Whether ``run`` is in memory here: then it is told when that ends, and how."""
        return run in self.hot

    def _remove(self, hot: HotRun, outcome: ev.RunOutcome | None = None) -> None:
        if self.hot.get(hot.run) is hot:
            del self.hot[hot.run]
            self.suspects.acquit(hot.run)
            self._on_left(hot.run, outcome)
