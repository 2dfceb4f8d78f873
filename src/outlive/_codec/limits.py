"""How large and how deep an encoded value may be, unless the engine says otherwise."""

from __future__ import annotations

from typing import Final

MAX_BYTES: Final = 64 * 1024 * 1024
MAX_DEPTH: Final = 100
COMPRESS_OVER: Final = 4096
SMALLEST: Final = -(2**63)
"""Integers from here to ``LARGEST`` are JSON numbers; others would be rounded or refused by readers of JSON."""
LARGEST: Final = 2**63 - 1
