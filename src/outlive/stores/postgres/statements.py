"""The SQL of this store: one file each, with ``outlive.`` where the name of the schema goes."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Final

from outlive.errors import ConfigurationError

_COMMENT: Final = re.compile(r"^\s*--.*\n", re.MULTILINE)
_PACKAGE: Final = files("outlive.stores.postgres")
_SCHEMA: Final = re.compile(r"(?!pg_)[a-z_][a-z0-9_]{0,47}")


def _texts(folder: str) -> dict[str, str]:
    found = sorted(_PACKAGE.joinpath(folder).iterdir(), key=lambda file: file.name)
    return {
        file.name.removesuffix(".sql"): _COMMENT.sub("", file.read_text(encoding="utf-8")).strip()
        for file in found
        if file.name.endswith(".sql")
    }


_STATEMENTS: Final = _texts("sql")
_MIGRATIONS: Final = _texts("migrations")


class Statements:
    """All statements, for one schema: every name carries it, since a pooled connection has no search path of its own.

    Raises:
        ConfigurationError: The schema is not named like one.
    """

    def __init__(self, schema: str) -> None:
        if not _SCHEMA.fullmatch(schema):
            raise ConfigurationError(
                f"{schema!r} can't be a schema: up to 48 of a-z, 0-9 and _, beginning neither with a digit nor with pg_, "
                "which PostgreSQL keeps for itself; name another one with ?schema= in the url"
            )
        self.schema = schema
        self._texts: dict[str, str] = {name: self.qualify(text) for name, text in _STATEMENTS.items()}
        self.migrations: dict[str, str] = {name: self.qualify(text) for name, text in _MIGRATIONS.items()}
        """By name, in order; the n-th brings the schema from version n-1 to version n."""

    def __getitem__(self, name: str) -> str:
        return self._texts[name]

    def qualify(self, text: str) -> str:
        return text.replace("outlive.", f'"{self.schema}".')
