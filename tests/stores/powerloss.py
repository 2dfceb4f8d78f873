"""What a power cut may leave: writes and syncs of SQLite are recorded, and the files rebuilt as a disk could have them.

A disk keeps what was synced. Of what was written since, it may have kept anything: nothing, all, some of it in any order, and of a
write that it was in the middle of, some sectors.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeAlias

import apsw

from outlive.model.entries import Accepted, Committed, Created, Entry, Message, Outcome
from outlive.model.events import encode_event
from outlive.model.ids import WorkerId
from outlive.stores.sqlite import SQLiteStore

Loss: TypeAlias = Literal["none", "all", "some", "torn"]
"""What becomes of unsynced writes: none of them is lost, all are, some are, or sectors of some are."""
LOSSES: Final[Sequence[Loss]] = ("none", "all", "some", "torn")

SECTOR: Final = 512


@dataclass(frozen=True)
class Write:
    file: str
    offset: int
    data: bytes


@dataclass(frozen=True)
class Truncate:
    file: str
    size: int


@dataclass(frozen=True)
class Sync:
    file: str


@dataclass(frozen=True)
class Delete:
    file: str


@dataclass(frozen=True)
class Acknowledged:
    """From here on it was promised that the database holds this text, in an event or a message."""

    text: str


Step: TypeAlias = Write | Truncate | Sync | Delete | Acknowledged


@dataclass
class Record:
    """All that SQLite did to the files of one database, in order."""

    name: str
    steps: list[Step] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def of(self, path: str) -> str | None:
        file = os.path.basename(path)
        return file if file.startswith(self.name) else None

    def do(self, act: Callable[[], None], step: Step | None) -> None:
        with self.lock:
            act()
            if step is not None:
                self.steps.append(step)


class _File(apsw.VFSFile):
    def __init__(self, record: Record, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name or ""
        self._file = record.of(path) or ""
        self._record = record
        super().__init__("unix", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        self._record.do(lambda: super(_File, self).xWrite(data, offset), Write(self._file, offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:
        self._record.do(lambda: super(_File, self).xTruncate(newsize), Truncate(self._file, newsize))

    def xSync(self, flags: int) -> None:
        self._record.do(lambda: super(_File, self).xSync(flags), Sync(self._file))


class _Recorder(apsw.VFS):
    def __init__(self, record: Record) -> None:
        self._record = record
        super().__init__("recorder", "unix", makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> _File:
        return _File(self._record, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        file = self._record.of(filename)
        self._record.do(
            lambda: super(_Recorder, self).xDelete(filename, syncdir), None if file is None else Delete(file)
        )


@contextmanager
def recording(database: Path) -> Iterator[Record]:
    """Record what is done to ``database`` by connections opened inside."""
    record = Record(database.name)
    vfs = _Recorder(record)
    try:
        yield record
    finally:
        vfs.unregister()


class AcknowledgingStore(SQLiteStore):
    """Notes in the record what it has promised."""

    record: Record

    def commit_now(self, worker: WorkerId | None, entries: Sequence[Entry]) -> list[Outcome] | None:
        outcomes = super().commit_now(worker, entries)
        self._note(entries, outcomes or ())
        return outcomes

    async def commit(self, worker: WorkerId | None, entries: Sequence[Entry]) -> list[Outcome]:
        outcomes = await super().commit(worker, entries)
        self._note(entries, outcomes)
        return outcomes

    def _note(self, entries: Sequence[Entry], outcomes: Sequence[Outcome]) -> None:
        for entry, outcome in zip(entries, outcomes, strict=False):
            match outcome:
                case Committed() | Created():
                    for recorded in outcome.events:
                        self.record.steps.append(Acknowledged(encode_event(recorded.event)))
                case Accepted() if isinstance(entry, Message) and entry.payload is not None:
                    self.record.steps.append(Acknowledged(entry.payload.text.strip('"')))
                case _:
                    pass


class Disk:
    """One file as the disk has it, and what was written since its last sync."""

    def __init__(self) -> None:
        self.kept = bytearray()
        self.synced = False
        self.pending: list[Write | Truncate] = []

    def sync(self) -> None:
        for step in self.pending:
            apply(self.kept, step)
        self.pending = []
        self.synced = True

    def after(self, loss: Loss, chance: random.Random) -> bytes:
        content = bytearray(self.kept)
        for step in self.survivors(loss, chance):
            apply(content, step)
        return bytes(content)

    def survivors(self, loss: Loss, chance: random.Random) -> list[Write | Truncate]:
        match loss:
            case "none":
                return self.pending
            case "all":
                return []
            case "some":
                kept = [step for step in self.pending if chance.random() < 0.5]
                chance.shuffle(kept)
                return kept
            case "torn":
                return [part for step in self.pending for part in sectors(step) if chance.random() < 0.5]


def sectors(step: Write | Truncate) -> Iterator[Write | Truncate]:
    if isinstance(step, Truncate):
        yield step
        return
    at = 0
    while at < len(step.data):
        size = SECTOR - (step.offset + at) % SECTOR
        yield Write(step.file, step.offset + at, step.data[at : at + size])
        at += size


def apply(content: bytearray, step: Write | Truncate) -> None:
    if isinstance(step, Truncate):
        del content[step.size :]
        return
    end = step.offset + len(step.data)
    if len(content) < end:
        content.extend(bytes(end - len(content)))
    content[step.offset : end] = step.data


def cut(record: Record, at: int, loss: Loss, chance: random.Random, folder: Path) -> set[str]:
    """Write into ``folder`` what a cut before step ``at`` may leave; what had been promised by then."""
    disks: dict[str, Disk] = {}
    promised: set[str] = set()
    for step in record.steps[:at]:
        match step:
            case Write() | Truncate():
                disks.setdefault(step.file, Disk()).pending.append(step)
            case Sync():
                disks.setdefault(step.file, Disk()).sync()
            case Delete():
                disks.pop(step.file, None)
            case Acknowledged():
                promised.add(step.text)
    folder.mkdir()
    for file, disk in disks.items():
        if disk.synced or loss != "all":
            (folder / file).write_bytes(disk.after(loss, chance))
    return promised


def held(database: Path) -> set[str]:
    """The text of all events and messages in it."""
    connection = apsw.Connection(str(database))
    try:
        events = {str(text) for (text,) in connection.execute("SELECT event FROM events")}
        bodies = [str(text) for (text,) in connection.execute("SELECT body FROM inbox")]
        return events | set(bodies)
    finally:
        connection.close()


def lost(promised: set[str], database: Path) -> set[str]:
    texts = held(database)
    everything = "\n".join(texts)
    return {text for text in promised if text not in texts and text not in everything}
