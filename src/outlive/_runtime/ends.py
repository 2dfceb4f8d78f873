"""How runs end, for those who wait for it, whatever process they are in."""

from __future__ import annotations

from outlive._runtime.notices import Notices, Wakeable
from outlive.errors import RunNotFound, RunParked
from outlive.model import events as ev
from outlive.model.ids import RunId
from outlive.model.records import RunRecord, RunStatus
from outlive.stores.protocol import Store


class Ends:
    """Waits for the ends of runs."""

    def __init__(self, store: Store, notices: Notices, worker: Wakeable | None) -> None:
        self._store = store
        self._notices = notices
        self._worker = worker

    async def of(self, run: RunId, *, or_parked: bool = False) -> ev.Event:
        """The last event of ``run``, once it has ended. Of a run in this engine's memory its worker tells, and nothing is read.

        Raises:
            RunNotFound: There is no such run.
            RunParked: It is stopped for a human, if ``or_parked`` asks for that.
        """
        notices, worker = self._notices, self._worker
        while True:
            changed = notices.wait(run)
            try:
                if worker is None or not worker.holds(run):
                    record = await self._store.run(run)
                    if record is None:
                        raise RunNotFound(f"there is no run {run}")
                    if or_parked and record.status is RunStatus.PARKED:
                        raise RunParked(await self._park_report(record), run_id=run, reason=record.reason)
                    if record.status.ended:
                        return (await self._store.log(run, record.link, after=record.seq - 1))[-1].event
                outcome = await changed
            finally:
                notices.leave(run, changed)
            if outcome is not None:
                return outcome

    async def _park_report(self, record: RunRecord) -> str:
        last = (await self._store.log(record.id, record.link, after=record.seq - 1))[-1].event
        report = last.report if isinstance(last, ev.RunParked) else ""
        return f"run {record.id} is parked: {record.reason}\n{report}".rstrip()
