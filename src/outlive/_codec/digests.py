"""What two encodings of equal values have in common: a digest that order, compression and tracebacks don't enter."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final, cast

import msgspec

from outlive._codec import compression
from outlive._codec.limits import MAX_BYTES
from outlive._codec.nodes import Node
from outlive.errors import SerializationError

_decode: Final = msgspec.json.Decoder().decode
_sorted: Final = msgspec.json.Encoder(order="sorted").encode
_UNORDERED: Final = frozenset({"set", "frozenset", "dict", "counter", "defaultdict"})


def digest(data: bytes, *, max_bytes: int = MAX_BYTES) -> str:
    """The canonical digest of an encoded value, as 32 hex digits.

    Raises:
        SerializationError: ``data`` is no encoded value.
    """
    if b"{" in data and (b'"$' in data or b"," in data or data.count(b"{") > 1):  # one pair has but one order
        if data.startswith(compression.MARK):
            data = compression.unpack(data, max_bytes=max_bytes)
        try:
            node = cast("Node", _decode(data))
            data = _sorted(node if b'"$' not in data else _canonical(node))
        except (msgspec.MsgspecError, RecursionError) as error:
            raise SerializationError(f"a stored value is damaged: {error}") from error
    return blake2b(data, digest_size=16).hexdigest()


def _canonical(node: Node) -> Node:
    if isinstance(node, list):
        return [_canonical(item) for item in cast("list[Node]", node)]
    if not isinstance(node, dict):
        return node
    mapping = cast("dict[str, Node]", node)
    tag = mapping.get("$t")
    if tag == "exception":
        left_out = ("tb", "m") if mapping.get("own") else ("tb",)
        return {key: _canonical(value) for key, value in mapping.items() if key not in left_out}
    made = {key: _canonical(value) for key, value in mapping.items()}
    if tag in _UNORDERED and isinstance(made.get("v"), list):
        made["v"] = sorted(cast("list[Node]", made["v"]), key=_sorted)
    return made
