"""For all tests: what hypothesis may take, and a default store that is not this repository's."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import pytest

hypothesis.settings.register_profile("outlive", deadline=None, print_blob=True)
hypothesis.settings.load_profile("outlive")


@pytest.fixture(autouse=True)
def _no_store_of_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A test that names no store gets one in its own folder, also in processes that it starts."""
    monkeypatch.setenv("OUTLIVE_URL", f"sqlite:///{tmp_path / 'default.db'}")
