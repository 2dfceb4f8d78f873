"""No story goes on after its test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.core import story


@pytest.fixture(autouse=True)
def _every_story_is_dropped() -> Iterator[None]:
    yield
    story.drop_all()
