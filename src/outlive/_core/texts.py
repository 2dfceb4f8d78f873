"""Texts that name things or give reasons: every store can hold them."""

from __future__ import annotations

import re
from typing import Final, cast

from outlive.model.ids import RunId

LONGEST_NAME: Final = 512
"""Characters of a tag, a token, or the id of a patch."""
LONGEST_KEY: Final = 255
"""Characters of an idempotency key."""
LONGEST_ID: Final = 100_000
"""Characters of the id of a run: those of children grow by their place."""
LONGEST_REASON: Final = 4_000
_UNWRITABLE: Final = re.compile("[\0\ud800-\udfff]")
_RUN_ID: Final = re.compile(r"[A-Za-z0-9_:@-][A-Za-z0-9_.:@-]{0,254}")


def check_text(text: str, what: str, *, most: int) -> str:
    """``text``, if it can be stored.

    Raises:
        TypeError: It is none.
        ValueError: It is longer than ``most``, or holds a NUL character or half of a surrogate pair.
    """
    if not isinstance(cast("object", text), str):
        raise TypeError(f"{what} is a text, not {text!r}")
    if len(text) > most:
        raise ValueError(f"{what} has at most {most:,} characters, not {len(text):,}")
    if _UNWRITABLE.search(text):
        raise ValueError(f"{what} can't hold NUL characters and surrogates: {text[:50]!r}")
    return text


def check_run_id(run_id: str) -> RunId:
    """``run_id``, if a user can choose it.

    Raises:
        ValueError: It can't be one.
    """
    if not _RUN_ID.fullmatch(run_id):
        raise ValueError(
            f"{run_id!r} can't be a run id: up to 255 letters, digits and _ . : @ -, not beginning with a dot"
        )
    return RunId(run_id)
