"""The urls of stores."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_plus

_PARAMETER: Final = re.compile(r"(?<=[?&])([^=&]+)=[^&]*")


def is_postgres(url: str) -> bool:
    return url.partition("://")[0] in ("postgresql", "postgres")


def shown(url: str) -> str:
    """``url`` as it may be printed and logged: without its password, also where it is mistyped. Rather too little than too much."""
    scheme, colons, rest = url.partition("://")
    if not colons:
        scheme, rest = "", url
    if scheme in ("sqlite", "memory"):
        return url
    # up to the last @: one that should have been written as %40 belongs to the password
    user, at, place = rest.rpartition("@")
    name, colon, _ = user.partition(":")
    return _PARAMETER.sub(_hidden, f"{scheme}{colons}{name}{':***' if colon else ''}{at}{place}")


def _hidden(parameter: re.Match[str]) -> str:
    name = parameter[1]
    return f"{name}=***" if "pass" in unquote_plus(name).lower() else parameter[0]
