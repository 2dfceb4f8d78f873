"""The benchmarks run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_quick_run_measures_what_it_is_asked_for(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    chosen = [
        "sequential",
        "runs",
        "gather",
        "hook",
        "races",
        "sleepers",
        "replay",
        "webhook",
        "webhooks",
        "sse",
        "chunks",
    ]
    command = [sys.executable, "-m", "benchmarks", "--quick", "--no-dbos", "--repeat", "1", "--json", str(figures)]
    done = subprocess.run([*command, "--only", *chosen], cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    found = json.loads(figures.read_text())
    assert found["limits"]["ceiling"] > 0
    assert all(row["outlive"] > 0 for row in found["rows"])
    assert "20 runs x 5 steps" in done.stdout
    assert "(missed)" not in done.stdout, "targets are for full sizes"


def test_a_workload_that_is_not_there_is_told() -> None:
    command = [sys.executable, "-m", "benchmarks", "--only", "nonsense"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "sequential" in done.stdout
