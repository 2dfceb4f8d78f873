"""A pgbouncer in transaction mode: the pooler that most deployments have."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.servers.system import READY_IN, folder_for_others, free_port, other_user

PACKAGES = ("pgbouncer", "libc-ares2", "libevent-2.1-7")


class NoPgbouncer(Exception):
    """This machine has none, and it can't be fetched."""


@contextlib.contextmanager
def pgbouncer(port: int) -> Iterator[str]:
    """The url of one in front of the PostgreSQL on ``port``.

    Raises:
        NoPgbouncer: There is none to start.
    """
    with folder_for_others("pgbouncer") as folder:
        program, libraries = _installed() or _fetched(folder)
        own = free_port()
        (folder / "users.txt").write_text('"outlive" ""\n"poor" ""\n')
        (folder / "pgbouncer.ini").write_text(
            f"""
            [databases]
            * = host=127.0.0.1 port={port}
            [pgbouncer]
            listen_addr = 127.0.0.1
            listen_port = {own}
            unix_socket_dir =
            auth_type = trust
            auth_file = {folder / "users.txt"}
            pool_mode = transaction
            max_client_conn = 1000
            default_pool_size = 40
            server_login_retry = 1
            """
        )
        log = (folder / "log").open("ab")
        process = subprocess.Popen(
            [program, folder / "pgbouncer.ini"],
            stdout=log,
            stderr=log,
            user=other_user(),
            env={"LD_LIBRARY_PATH": libraries, "PATH": os.environ.get("PATH", "")},
            cwd=folder,
        )
        try:
            until = time.monotonic() + READY_IN
            while not _answers(own):
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"pgbouncer did not start:\n{(folder / 'log').read_text()[-2000:]}")
                time.sleep(0.02)
            yield f"postgresql://outlive@127.0.0.1:{own}/postgres"
        finally:
            process.send_signal(signal.SIGTERM)  # immediate: SIGINT waits for clients
            process.wait(READY_IN)
            log.close()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _installed() -> tuple[str, str] | None:
    found = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    return (found, "") if found is not None else None


def _fetched(folder: Path) -> tuple[str, str]:
    """From Debian's packages, without installing them."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise NoPgbouncer("there is no pgbouncer on this machine, and no apt-get to fetch it with")
    fetched = subprocess.run(
        ["apt-get", "download", *PACKAGES], cwd=folder, capture_output=True, text=True, check=False
    )
    if fetched.returncode:
        raise NoPgbouncer(f"there is no pgbouncer on this machine, and it can't be fetched: {fetched.stderr[-500:]}")
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", package, folder / "root"], check=True)
    libraries = next((folder / "root").rglob("libevent-2.1.so*")).parent
    return str(folder / "root/usr/sbin/pgbouncer"), str(libraries)
