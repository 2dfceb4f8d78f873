"""The SQL of this store, one statement per file, named as the call that uses it."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Final

_COMMENT: Final = re.compile(r"^\s*--.*\n", re.MULTILINE)
_PACKAGE: Final = files("outlive.stores.sqlite")

SQL: Final[dict[str, str]] = {
    file.name.removesuffix(".sql"): _COMMENT.sub("", file.read_text(encoding="utf-8")).strip()
    for file in _PACKAGE.joinpath("sql").iterdir()
    if file.name.endswith(".sql")
}

MIGRATIONS: Final[tuple[str, ...]] = tuple(
    file.read_text(encoding="utf-8")
    for file in sorted(_PACKAGE.joinpath("migrations").iterdir(), key=lambda file: file.name)
    if file.name.endswith(".sql")
)
"""The n-th brings a file from version n-1 to version n."""
