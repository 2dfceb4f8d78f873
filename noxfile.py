"""The tests on the other Pythons. Those that are not on this machine are skipped, visibly.

python3 dev.py run nox --list
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nox

VERSIONS = ["3.11", "3.12", "3.13"]
HERE = "{}.{}".format(*sys.version_info)

nox.options.default_venv_backend = "uv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False
nox.options.reuse_venv = "yes"
nox.options.sessions = ["tests"]


def works(python: Path) -> bool:
    """Whether it starts: the shims of version managers stand for Pythons that may be switched off."""
    try:
        return subprocess.run([python, "-c", ""], capture_output=True, timeout=20, check=False).returncode == 0
    except OSError:
        return False


def find(version: str) -> Path | None:
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    managed = sorted(Path("~/.pyenv/versions").expanduser().glob(f"{version}*/bin"), reverse=True)
    candidates = [folder / f"python{version}" for folder in (*folders, *managed)]
    return next((python for python in candidates if python.exists() and works(python)), None)


FEWER = {"OUTLIVE_KILLS": "12", "OUTLIVE_POWER_CUTS": "60"}
"""What depends on the disk and the system more than on the Python runs at length on one of them; servers there alone."""

# nox takes the first of a name on PATH; let that be one which works
FOUND = {version: python for version in VERSIONS if (python := find(version)) is not None}
os.environ["PATH"] = os.pathsep.join([*(str(python.parent) for python in FOUND.values()), os.environ.get("PATH", "")])


def tests(session: nox.Session) -> None:
    """All tests on one Python."""
    session.run_install(
        "uv", "sync", "--quiet", "--inexact", "--python", session.virtualenv.location,
        env={"UV_PROJECT_ENVIRONMENT": session.virtualenv.location},
    )  # fmt: skip
    session.run("pytest", "--quiet", "--numprocesses", "2", "-m", "not server", *session.posargs, env=FEWER)


nox.session(python=VERSIONS, name="tests")(tests)
nox.session(python=[version for version in VERSIONS if version != HERE], name="other")(tests)
