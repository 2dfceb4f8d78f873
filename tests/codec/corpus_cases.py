"""Encodings that were written once and must decode for ever.

``corpus/<name>.json`` was written by some release; ``CASES`` says what it decodes to. A file is never written again:
when the format changes, the old file stays and ``python -m tests.codec.corpus_cases`` adds ``<name>.<n>.json``.
"""

from __future__ import annotations

from pathlib import Path

from outlive import errors
from outlive._codec import Codec, TypeRegistry
from outlive._codec.exceptions import TRACEBACK_NOTE
from tests.codec import models
from tests.codec.values import VALUES

CORPUS = Path(__file__).parent / "corpus"


def _chained() -> BaseException:
    error = models.CardDeclined("c1", retry=True)
    error.__cause__ = error.__context__ = OSError(2, "gone", "a.txt")
    error.add_note("while charging")
    return error


def _as_text() -> BaseException:
    error = errors.StepError("no", type_name="app:Lost", traceback_text="  File x")
    error.add_note(f"{TRACEBACK_NOTE}  File x")
    return error


CASES: list[tuple[str, object]] = [
    *VALUES.items(),
    ("exception-own", _chained()),
    ("exception-text", _as_text()),
    ("exception-group", ExceptionGroup("g", [ValueError(1), KeyError("k")])),
    ("compressed-zlib", ["compressed"] * 100),
    ("compressed-zstd", ["compressed"] * 100),
]


def corpus_types() -> TypeRegistry:
    types = TypeRegistry()
    types.reach(vars(models))
    types.register(models.Money, name="test.money", encode=lambda money: money.cents, decode=models.Money)
    return types


def add_missing() -> list[str]:
    """Write a file for each case whose encoding of today is in none; what exists stays."""
    added: list[str] = []
    for name, value in CASES:
        compressed = name.startswith("compressed")
        method = "zstd" if name.endswith("zstd") else "zlib"
        data = Codec(corpus_types(), compress_over=0 if compressed else 10**9, compression=method).encode(value)
        files = sorted(CORPUS.glob(f"{name}.*json"))
        if data not in [file.read_bytes() for file in files]:
            target = CORPUS / (f"{name}.{len(files) + 1}.json" if files else f"{name}.json")
            with target.open("xb") as file:
                file.write(data)
            added.append(target.name)
    return added


if __name__ == "__main__":
    print("\n".join(add_missing()) or "nothing to add")
