"""Tells other processes that something has changed, and hears it from them: by NOTIFY, on a connection of its own.

Never in the transaction of a commit, where it takes a lock that all commits of the database share. A hint that is lost costs time and
nothing else: whoever waits looks again by itself.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from outlive.errors import StoreError
from outlive.model import events as ev
from outlive.model.entries import (
    Accepted,
    Answered,
    AnswerRequest,
    Committed,
    Created,
    Entry,
    Outcome,
    RunCommit,
    SpawnRun,
    TaskCommit,
    Terminate,
)
from outlive.model.hints import ANYTHING, Hint
from outlive.model.streams import streams_of
from outlive.stores.postgres.connections import Connection, connect

PAUSE: Final = 0.01
"""Seconds between two hints: what happens meanwhile goes with the next."""
LONGEST: Final = 7_000
"""Bytes that PostgreSQL carries; for more it is said that anything may have changed."""
AGAIN_AFTER: Final = 1.0

log: Final = logging.getLogger("outlive.stores.postgres")

_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(tuple[str, Hint])
_OUTWARD: Final = ev.TERMINAL | {ev.RunParked}


class Hints:
    """One store's ear and mouth.

    Args:
        dsn: Of the database.
        schema: All stores on it hear each other.
    """

    def __init__(self, dsn: str, schema: str) -> None:
        self._dsn = dsn
        self._channel = "outlive_" + hashlib.blake2b(schema.encode(), digest_size=8).hexdigest()
        self._pooled = False
        self._me = secrets.token_hex(8)
        self._told: Callable[[Hint], None] | None = None
        self._pending = Hint()
        self._something = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def open(self, *, pooled: bool) -> None:
        """``pooled``: hints can be sent through what stands between, and none is heard."""
        self._pooled = pooled
        if pooled:
            log.warning(
                "PostgreSQL is reached through a pooler that keeps no sessions: LISTEN is silent there, so what other workers do "
                "is found by asking, up to a second later"
            )
        self._task = asyncio.get_running_loop().create_task(self._keep_talking(), name="outlive-hints")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def on_hint(self, told: Callable[[Hint], None]) -> None:
        self._told = told

    def tell(self, entries: Sequence[Entry], outcomes: Sequence[Outcome]) -> None:
        """Let others know of what has just been committed, if it can matter to them."""
        hint = self._pending
        for entry, outcome in zip(entries, outcomes, strict=True):
            hint = hint | _hint_of(entry, outcome)
        self._pending = hint
        if hint:
            self._something.set()

    async def _keep_talking(self) -> None:
        while True:
            connection: Connection | None = None
            try:
                connection = await connect(self._dsn, pooled=self._pooled)
                if not self._pooled:
                    await connection.add_listener(self._channel, self._heard)
                    self._tell(ANYTHING)  # what was said while nobody listened
                await self._talk(connection)
            except StoreError as error:
                log.debug("hints are neither sent nor heard: %s", error)
            except Exception as error:  # the driver's, the system's: hints must never be what stops a worker
                log.debug("hints are neither sent nor heard: %r", error)
            finally:
                if connection is not None:
                    connection.terminate()
            await asyncio.sleep(AGAIN_AFTER)

    async def _talk(self, connection: Connection) -> None:
        connection.add_termination_listener(lambda _: self._something.set())
        while True:
            await self._something.wait()
            self._something.clear()
            hint, self._pending = self._pending, Hint()
            text = _encoder.encode((self._me, hint)).decode()
            if len(text) > LONGEST:
                text = _encoder.encode((self._me, ANYTHING)).decode()
            await connection.execute("SELECT pg_notify($1, $2)", self._channel, text)  # fails if the server has gone
            await asyncio.sleep(PAUSE)

    def _heard(self, _connection: object, _pid: int, _channel: str, text: object) -> None:
        try:
            sender, hint = _decoder.decode(str(text))
        except msgspec.MsgspecError:
            return  # of another version, or of anybody: only a hint
        if sender != self._me:
            self._tell(hint)

    def _tell(self, hint: Hint) -> None:
        if self._told is not None:
            self._told(hint)


def _hint_of(entry: Entry, outcome: Outcome) -> Hint:
    match outcome:
        case Created(epoch=0):
            return Hint(due=True)
        case Accepted(run=run) if isinstance(entry, TaskCommit) and entry.ending is None:
            return Hint(about=(streams_of(run),))
        case Accepted(run=run, owner=owner):
            workers = () if owner is None else (owner,)
            about: tuple[str, ...] = (run,) if isinstance(entry, Terminate) else ()
            if isinstance(entry, TaskCommit) and entry.streams:
                about = (streams_of(run),)
            return Hint(due=owner is None, workers=workers, about=about)
        case Answered() if isinstance(entry, AnswerRequest):
            return Hint(about=(entry.request,))
        case Committed() if isinstance(entry, RunCommit):
            return _hint_of_commit(entry, outcome)
        case _:
            return Hint()


def _hint_of_commit(commit: RunCommit, done: Committed) -> Hint:
    kinds = {type(proposal) for proposal in commit.proposals}
    about = list(done.answered)
    if not kinds.isdisjoint(_OUTWARD):
        about.append(commit.run)
    if commit.streams or done.wrote:
        about.append(streams_of(commit.run))
    due = bool(done.ended_watches) or SpawnRun in kinds or ev.StepScheduled in kinds
    return Hint(due=due, workers=done.cancelling, about=tuple(about))
