"""Every Python program in the docs can be imported: its names are there, its decorators take it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PROGRAMS = [
    (page.name, number, program)
    for page in sorted(DOCS.glob("*.md"))
    for number, program in enumerate(re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL))
    if program.startswith(("from ", "import "))
]


@pytest.mark.parametrize(
    ("page", "number", "program"), PROGRAMS, ids=[f"{page}-{number}" for page, number, _ in PROGRAMS]
)
def test_a_program_of_the_docs_can_be_imported(page: str, number: int, program: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "-c", "import program"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_there_are_such_programs() -> None:
    assert {page for page, _, _ in PROGRAMS} >= {"webhooks.md", "streams.md", "http.md", "fetch.md"}
