"""What all servers of the tests need of the system."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

READY_IN = 60.0


def free_port() -> int:
    """Of loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def other_user() -> int | None:
    """Whom a server runs as that refuses to run as root; None: as ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_uid
    raise RuntimeError("these servers do not run as root, and there is no user they could run as")


@contextlib.contextmanager
def folder_for_others(name: str) -> Iterator[Path]:
    """A folder that the other user owns; not under pytest's, which are closed to it."""
    user = other_user()
    folder = Path(tempfile.mkdtemp(prefix=f"outlive-{name}-", dir=None if user is None else "/tmp"))
    try:
        if user is not None:
            os.chown(folder, user, -1)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
