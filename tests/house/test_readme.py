"""Every Python program in the README does what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
PRINTS = (r"receipt for order-7: deadline\n", r"[\w-]{36} hello ada\n")


def run(program: str, folder: Path) -> str:
    (folder / "program.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=folder,
        env={**os.environ, "OUTLIVE_URL": f"sqlite:///{folder / 'runs.db'}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_program_is_known_here() -> None:
    assert len(PROGRAMS) == len(PRINTS)


@pytest.mark.parametrize(
    ("program", "prints"), list(zip(PROGRAMS, PRINTS, strict=False)), ids=str.split("script engine")
)
def test_a_program_prints_what_it_should(program: str, prints: str, tmp_path: Path) -> None:
    assert re.fullmatch(prints, run(program, tmp_path))


def test_a_script_with_a_run_id_gives_the_recorded_result_again(tmp_path: Path) -> None:
    assert run(PROGRAMS[0], tmp_path) == run(PROGRAMS[0], tmp_path)


def test_there_are_two_set_up_commands() -> None:
    first = re.search(r"^```console\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert first is not None
    commands = [line.removeprefix("$ ").partition("#")[0].strip() for line in first[1].splitlines()]
    assert commands == ["python3 dev.py demo", "python3 dev.py test"]


def test_ci_runs_the_second_of_them() -> None:
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == "exec python3 dev.py test"
