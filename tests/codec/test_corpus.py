"""What was once written is read for ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from outlive._codec import Codec
from tests.codec.corpus_cases import CASES, CORPUS, corpus_types
from tests.codec.values import picture

FILES = sorted(CORPUS.glob("*.json"))


@pytest.mark.parametrize("file", FILES, ids=[file.name for file in FILES])
def test_an_old_encoding_decodes_to_the_same_value(file: Path) -> None:
    expected = dict(CASES)[file.name.partition(".")[0]]
    assert picture(Codec(corpus_types()).decode(file.read_bytes())) == picture(expected)


def test_every_case_has_its_file() -> None:
    assert {name for name, _ in CASES} == {file.name.partition(".")[0] for file in FILES}
