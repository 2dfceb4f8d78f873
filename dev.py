#!/usr/bin/env python3
"""Everything a developer does here, from a fresh clone and with nothing installed but Python 3.11 or newer.

    python3 dev.py demo        watch a workflow survive a kill; demo birthday: one with a server and webhooks
    python3 dev.py test        everything: format, lint, layers, types, and the tests on each Python that is here
    python3 dev.py quick       the same without slow tests and other Pythons: under a minute, for the inner loop
    python3 dev.py fix         let the tools repair what they can
    python3 dev.py run CMD...  any command in the environment: python3 dev.py run pytest tests/core -k order

The first call makes two virtual environments: ``.venv-uv`` holds uv, ``.venv`` the project.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parent
UV = "uv>=0.9,<1"
GET_PIP = "https://bootstrap.pypa.io/get-pip.py"

CHECKS: Sequence[tuple[str, ...]] = (
    ("ruff", "format", "--check", "--quiet", "."),
    ("ruff", "check", "--quiet", "."),
    ("lint-imports", "--no-logo"),
    ("mypy",),
    ("basedpyright",),
)
EXPORTS = ("basedpyright", "--verifytypes", "outlive", "--ignoreexternal")
PYTEST = ("pytest", "--quiet", "--numprocesses", "2")
EVICTED = (*PYTEST, "--evict", "-m", "not server", "tests/cli", "tests/examples", "tests/http", "tests/processes")
POOLED = (*PYTEST, "--pooled", "-m", "server and not own_server")
OTHER_PYTHONS = ("nox", "--session", "other")


def main(arguments: Sequence[str]) -> int:
    if sys.version_info < (3, 11):
        raise SystemExit(f"Outlive needs Python 3.11 or newer; this is {sys.version.split()[0]} ({sys.executable})")
    command, *rest = arguments or ("help",)
    if command not in COMMANDS:
        print(__doc__)
        return 0 if command in ("help", "-h", "--help") else 2
    return COMMANDS[command](rest)


def demo(rest: Sequence[str]) -> int:
    sync("--inexact", "--no-default-groups", "--extra", "server" if "birthday" in rest else "cli")
    return call("outlive", "demo", *rest)


def test(rest: Sequence[str]) -> int:
    return check(*CHECKS, EXPORTS, OTHER_PYTHONS, EVICTED, POOLED, (*PYTEST, *rest))


def quick(rest: Sequence[str]) -> int:
    return check(*CHECKS, EXPORTS, (*PYTEST, "-m", "not slow and not server", *rest))


def fix(_: Sequence[str]) -> int:
    return check(("ruff", "check", "--fix", "."), ("ruff", "format", "."))


def run(rest: Sequence[str]) -> int:
    sync()
    return call(*rest)


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "demo": demo,
    "test": test,
    "check": test,
    "quick": quick,
    "fix": fix,
    "run": run,
}


def check(*steps: Sequence[str]) -> int:
    """Run every step, also after one has failed; the first exit code that isn't 0.

    The last step, the tests, prints last: what failed before is said ahead of it.
    """
    sync()
    failed: list[tuple[str, int]] = []
    for step in steps:
        if step is steps[-1] and failed:
            say(f"failed so far: {', '.join(name for name, _ in failed)}")
        name = " ".join(step)
        say(name)
        begun = time.monotonic()
        code = call(*step)
        if code:
            failed.append((step[0], code))
        if step is not steps[-1]:
            say(f"{'ok' if code == 0 else 'FAILED'}: {name} ({time.monotonic() - begun:.1f} s)")
    return failed[0][1] if failed else 0


def call(*command: str) -> int:
    """Run a command of the project's environment."""
    path = os.pathsep.join([str(ROOT / ".venv/bin"), str(ROOT / ".venv-uv/bin"), os.environ.get("PATH", "")])
    environment = {**os.environ, "PATH": path, "VIRTUAL_ENV": str(ROOT / ".venv")}
    program = shutil.which(command[0], path=path)
    if program is None:
        raise SystemExit(f"{command[0]} is not in .venv; is it a dependency in pyproject.toml?")
    sys.stdout.flush()
    return subprocess.run([program, *command[1:]], cwd=ROOT, env=environment, check=False).returncode


def sync(*options: str) -> None:
    """Bring ``.venv`` in line with pyproject.toml; nothing is done where it is."""
    environment = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    command = [uv(), "sync", "--quiet", "--python", sys.executable, *options]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)


def uv() -> str:
    """The path of uv, installed on first use."""
    home = ROOT / ".venv-uv"
    program = home / "bin/uv"
    if not program.exists():
        say(f"installing {UV}")
        python = home / "bin/python"
        venv.create(home, clear=True, symlinks=True)
        subprocess.run([*pip(python), "install", "--quiet", "--disable-pip-version-check", UV], check=True)
    return str(program)


def pip(python: Path) -> list[str]:
    """The command that installs into the environment of ``python``, on systems that split Python into packages too."""
    if importlib.util.find_spec("ensurepip") is not None:
        made = subprocess.run([str(python), "-m", "ensurepip", "--default-pip"], capture_output=True, check=False)
        if made.returncode == 0:
            return [str(python), "-m", "pip"]
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", "--python", str(python)]
    script = python.parent / "get-pip.py"
    with urlopen(GET_PIP) as answer:
        script.write_bytes(answer.read())
    subprocess.run([str(python), str(script), "--quiet"], check=True)
    return [str(python), "-m", "pip"]


def say(text: str) -> None:
    print(f"== {text}", flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except subprocess.CalledProcessError as error:
        sys.exit(f"{' '.join(map(str, error.cmd))} failed with exit code {error.returncode}")
    except KeyboardInterrupt:
        sys.exit(130)
