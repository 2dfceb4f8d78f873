"""Faults of the file system beneath SQLite, on demand."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TypeAlias

import apsw

Call: TypeAlias = Literal["read", "write", "sync"]


class Faults:
    """Which calls fail, with what."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left: dict[Call, int] = {}
        self._errors: dict[Call, type[apsw.Error]] = {}
        self._lasting: set[Call] = set()
        self.met = threading.Event()
        """Something has failed."""

    def once(self, call: Call, nth: int, error: type[apsw.Error]) -> None:
        """The ``nth`` call from now on fails."""
        with self._lock:
            self._left[call], self._errors[call] = nth, error

    def lasting(self, call: Call, error: type[apsw.Error]) -> None:
        """Every call fails, until :meth:`mend`."""
        with self._lock:
            self._lasting.add(call)
            self._errors[call] = error

    def mend(self) -> None:
        with self._lock:
            self._left.clear()
            self._lasting.clear()

    def check(self, call: Call) -> None:
        with self._lock:
            if call in self._left:
                self._left[call] -= 1
            if call in self._lasting or self._left.get(call) == 0:
                self._left.pop(call, None)
                self.met.set()
                raise self._errors[call]("injected")


class _File(apsw.VFSFile):
    def __init__(self, faults: Faults, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        self._faults = faults
        super().__init__("unix", name, flags)

    def xRead(self, amount: int, offset: int) -> bytes:
        self._faults.check("read")
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:
        self._faults.check("write")
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:
        self._faults.check("sync")
        super().xSync(flags)


class _Faulty(apsw.VFS):
    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        super().__init__("faulty", "unix", makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> _File:
        return _File(self._faults, name, flags)


@contextmanager
def faulty() -> Iterator[Faults]:
    """Connections opened inside meet the faults that are asked for."""
    faults = Faults()
    vfs = _Faulty(faults)
    try:
        yield faults
    finally:
        vfs.unregister()
