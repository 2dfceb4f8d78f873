"""The command as such."""

from __future__ import annotations

import subprocess
import sys

import pytest

from .conftest import FOREVER, Project

pytestmark = pytest.mark.slow

LOOK = ("runs", "show", "replay", "doctor", "version")
COMMANDS = ("demo", "run", "worker", "resume", "cancel", "wake", "terminate", "prune", *LOOK)


def test_help_names_every_command_and_the_exit_codes(project: Project) -> None:
    done = project.outlive("--help")

    assert done.code == 0
    assert [name for name in COMMANDS if f" {name} " not in done.out] == []
    assert "Exit codes" in done.out


def test_version_tells_what_decides_how_runs_are_kept(project: Project) -> None:
    assert set(project.outlive("version", "--json").json) == {"outlive", "python", "sqlite"}


def test_a_command_that_does_not_exist_ends_with_2(project: Project) -> None:
    done = project.outlive("rnu")

    assert done.code == 2
    assert 'Unknown command "rnu"' in done.err


def test_an_error_is_one_line_unless_debugging_is_asked_for(project: Project) -> None:
    quiet = project.outlive("runs", "--url", "mysql://nowhere")
    loud = project.outlive("runs", "--url", "mysql://nowhere", OUTLIVE_DEBUG="1")

    assert (quiet.code, len(quiet.err.splitlines())) == (2, 1)
    assert "Traceback" in loud.err


def test_without_its_extra_the_command_line_says_what_to_install() -> None:
    program = "import sys; sys.modules['cyclopts'] = None; from outlive.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=FOREVER, check=False)

    assert done.returncode == 2
    assert "pip install 'outlive[cli]'" in done.stderr
