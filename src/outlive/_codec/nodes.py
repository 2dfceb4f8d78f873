"""The tree between Python values and JSON text."""

from __future__ import annotations

import base64

Node = object
"""A tree of None, bool, int, float, str, list, and dict with string keys."""


def as_base64(data: bytes | bytearray) -> str:
    """Binary data as JSON text."""
    return base64.b64encode(data).decode("ascii")
