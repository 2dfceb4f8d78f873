"""Bringing runs back to life: their logs are read and replayed, then they go on (R28, R32)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from time import perf_counter
from typing import Any, Final

from outlive._codec import Codec
from outlive._core.authoring import Workflow
from outlive._core.dropping import drop
from outlive._core.guard import Guard
from outlive._core.machine import Machine
from outlive._core.registry import Registry
from outlive._core.signals import Blocked, Discarded
from outlive._runtime import versions
from outlive._runtime.hotrun import BLOCKED_REPORT, HotRun
from outlive._runtime.replaying import highest_ref, webhook_bases
from outlive._runtime.reports import divergence_report
from outlive._runtime.watchdog import Watchdog
from outlive.errors import StoreError
from outlive.model import events as ev
from outlive.model.ids import RunId
from outlive.stores.protocol import Store

log: Final = logging.getLogger("outlive.worker")

SLICE: Final = 0.010
"""Seconds after which a cold replay lets others run."""
UNREADABLE: Final = "its log can't be read"
PAGE: Final = 5_000
LONGEST_PAUSE: Final = 30.0
FAILURES_BEFORE_PARKING: Final = 3


def unreadable(error: Exception) -> str:
    return f"{type(error).__name__}: {error}; a newer Outlive may have written it, else see: outlive doctor"


class Revival:
    """Replays runs on the worker's loop, in callbacks and in slices."""

    def __init__(
        self,
        *,
        store: Store,
        registry: Registry,
        codec: Codec,
        guard: Guard,
        watchdog: Watchdog,
        make_handle: Callable[[RunId], object],
        base_url: str,
    ) -> None:
        self._store = store
        self._base_url = base_url
        self._registry = registry
        self._codec = codec
        self._guard = guard
        self._watchdog = watchdog
        self._make_handle = make_handle
        self._reloading: set[asyncio.Task[None]] = set()
        self._closed = False

    def close(self) -> None:
        self._closed = True
        for task in self._reloading:
            task.cancel()

    async def read_log(self, run: RunId, link: int) -> list[ev.Recorded]:
        """The whole log of a link; tried until the store gives it."""
        events: list[ev.Recorded] = []
        pause = 0.1
        while True:
            try:
                page = await self._store.log(run, link, after=len(events), limit=PAGE)
            except StoreError as error:
                log.error("can't read the log of run %s, trying again in %.1f s: %s", run, pause, error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
                continue
            events.extend(page)
            if len(page) < PAGE:
                return events

    def build(self, hot: HotRun, *, trace: Callable[[], str] | None = None) -> Machine:
        """A machine at the beginning of the run's log."""
        workflow: Workflow[..., Any] = self._registry.workflow(hot.created.workflow)
        return Machine(
            run=hot.run,
            link=hot.link,
            created=hot.created,
            body=workflow.body,
            bind=workflow.binder.bind,
            codec=self._codec,
            guard=self._guard,
            markers=hot.markers,
            recorded=highest_ref(hot.log),
            trace=trace,
            make_handle=self._make_handle,
            base_url=self._base_url,
            webhook_bases=webhook_bases(hot.log),
            find_function=self._registry.function,
        )

    def wake(self, hot: HotRun, *, takeover: bool) -> None:
        """Replay what a body has been shown of ``hot.log``, then let it go on with the rest."""
        if hot.dropped or self._closed:
            return
        try:
            machine = self.build(hot)
        except Exception as error:  # the run's first event is not one that this code can begin with
            hot.park("it can't begin", f"{type(error).__name__}: {error}")
            return
        events = hot.log
        hot.log = [recorded for recorded in events if recorded.seq <= hot.shown]
        rest = events[len(hot.log) :]
        self._replay(hot, machine, hot.log, 0, lambda: self._live(hot, machine, rest, takeover=takeover))

    def _replay(
        self, hot: HotRun, machine: Machine, events: list[ev.Recorded], position: int, then: Callable[[], None]
    ) -> None:
        """Activate ``events`` from ``position``; nothing is executed and nothing written."""
        if hot.dropped or self._closed:
            drop(machine)
            return
        stop = perf_counter() + SLICE
        try:
            while position < len(events):
                self._watchdog.begin(hot.run)
                try:
                    machine.activate(events[position], replaying=True)
                finally:
                    self._watchdog.end()
                position += 1
                if perf_counter() > stop:
                    asyncio.get_running_loop().call_soon(self._replay, hot, machine, events, position, then)
                    return
        except (*versions.PARKS, Blocked, Exception) as error:
            drop(machine)
            self._failed(hot, error)
            return
        then()

    def _live(self, hot: HotRun, machine: Machine, rest: list[ev.Recorded], *, takeover: bool) -> None:
        try:
            hot.go_live(machine, rest, takeover=takeover)
            if not rest:
                hot.knock()
            hot.consider_leaving()
        except Exception as error:  # a bug of ours costs this run, and only this run
            log.critical("run %s can't go on", hot.run, exc_info=error)
            hot.failed(error)

    def reload(self, hot: HotRun, error: BaseException) -> None:
        """An activation failed: begin again from a fresh read. What goes wrong there once more is the run's own fault (R32, R12)."""
        hot.failures += 1
        hot.suspend()
        task = asyncio.get_running_loop().create_task(self._reload(hot, error))
        self._reloading.add(task)
        task.add_done_callback(self._reloading.discard)

    async def _reload(self, hot: HotRun, error: BaseException) -> None:
        try:
            hot.log = await self.read_log(hot.run, hot.link)
        except Exception as unread:
            hot.park(UNREADABLE, unreadable(unread))
            return
        hot.seq, hot.time = hot.log[-1].seq, hot.log[-1].time
        # in a callback: bodies run in no task of ours (R27)
        asyncio.get_running_loop().call_soon(self._again, hot, error)

    def _again(self, hot: HotRun, error: BaseException) -> None:
        limit = FAILURES_BEFORE_PARKING if isinstance(error, Discarded) else 2
        if hot.dropped or self._closed:
            return
        if hot.failures >= limit:
            hot.park(*divergence_report(hot, error, self.build))
        else:
            self.wake(hot, takeover=False)

    def _failed(self, hot: HotRun, error: BaseException) -> None:
        """A replay went wrong, of a log that had just been read."""
        if isinstance(error, Blocked):
            hot.park("WorkflowBlocked", BLOCKED_REPORT)
        elif isinstance(error, Discarded):
            self.reload(hot, error)
        else:
            hot.park(*divergence_report(hot, error, self.build))
