"""The codec under test knows what a step's module would make known."""

from __future__ import annotations

import pytest

from outlive._codec import Codec, TypeRegistry
from tests.codec.corpus_cases import corpus_types


@pytest.fixture
def types() -> TypeRegistry:
    return corpus_types()


@pytest.fixture
def codec(types: TypeRegistry) -> Codec:
    return Codec(types)
