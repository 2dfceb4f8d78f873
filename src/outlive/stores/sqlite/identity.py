"""Whether the file that is open is still the one that its path names."""

from __future__ import annotations

import os

from outlive.errors import StoreUnavailable


class OpenFile:
    """A database and its log as they were first seen. SQLite goes on writing to a file that was deleted or replaced, and says nothing."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen: dict[str, tuple[int, int]] = {}

    def check(self) -> None:
        """Call it before a commit: what is written to a file without a name is lost with the process.

        Raises:
            StoreUnavailable: The database or its log was deleted or replaced.
        """
        for file in (self._path, self._path + "-wal"):
            try:
                status = os.stat(file)
            except OSError:
                found = None
            else:
                found = (status.st_dev, status.st_ino)
            if found is None or self._seen.setdefault(file, found) != found:
                raise StoreUnavailable(
                    f"{file} was deleted or replaced while it was open, so nothing more is written to it; "
                    "put it back, or restart this process"
                )
