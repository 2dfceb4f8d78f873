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
PROGRAMS = re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
SAYS = {
    "orders.py": "charging 17\nprinting a label for 17\nreceipt-17, label-17\n",
    "parcel.py": "person said yes\n",
    "shop.py": "receipt-18, label-18\n",
    "saga.py": "released tea pot\nfailed: no 100 on this card\n",
}


def run(folder: Path, name: str) -> str:
    url = f"sqlite:///{folder / 'runs.db'}"
    done = subprocess.run(
        [sys.executable, name],
        cwd=folder,
        env={**os.environ, "OUTLIVE_URL": url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, source in PROGRAMS:
        (tmp_path / name).write_text(source)
    return tmp_path


def test_every_python_block_is_a_program_with_a_name() -> None:
    assert README.count("```python") == len(PROGRAMS)
    assert [name for name, _ in PROGRAMS] == list(SAYS)


@pytest.mark.parametrize("name", SAYS)
def test_a_program_says_what_it_should(folder: Path, name: str) -> None:
    assert run(folder, name).endswith(SAYS[name])


def test_a_run_that_has_ended_gives_its_result_again_and_does_nothing(folder: Path) -> None:
    run(folder, "orders.py")
    assert run(folder, "orders.py") == "receipt-17, label-17\n"


def test_there_are_two_set_up_commands() -> None:
    shell = re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    commands = [line.partition("#")[0].strip() for line in shell[0].splitlines()]
    assert commands == ["python3 dev.py demo", "python3 dev.py test"]


def test_ci_runs_the_second_of_them() -> None:
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == "exec python3 dev.py test"
