"""A process dies, and another one in which string sets iterate in another order goes on (R22, A5)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def play(url: str, phase: str, seed: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.processes.sets_program", url, phase],
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_r22_a_set_as_argument_is_the_same_under_another_hash_seed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'outlive.db'}"
    begun = play(url, "begin", "1")
    assert begun.returncode == 9, begun.stderr
    ended = play(url, "end", "2")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip().endswith(" 94")
    assert begun.stdout.split("]")[0] != ended.stdout.split("]")[0], "both had the same order, which proves nothing"
