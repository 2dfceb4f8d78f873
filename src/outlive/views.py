"""Recorded values as people read them: without their classes, so without importing anybody's code."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import PurePath
from typing import Final, Protocol, cast, runtime_checkable

import msgspec
from msgspec import Raw

from outlive._codec.compression import MARK, unpack
from outlive._core.payloads import CODEC_TYPE, JSON_TYPE
from outlive._core.seeds import Seed
from outlive.errors import SerializationError
from outlive.model.events import HookCreated, Payload, Recorded, RunCreated

_LARGEST: Final = 64 * 2**20
_MAPPINGS: Final = frozenset({"dict", "ordereddict", "counter", "defaultdict"})
_ALWAYS_SECRET: Final = frozenset({"outlive:hook", "outlive:hook-handle"})
"""Stored types that were not marked as secret at first."""
_MASK: Final = "<secret>"
TOKEN: Final = re.compile(r"(?<![\w-])[\w-]{43}(?![\w-])", re.ASCII)
"""What looks like a generated token: 256 bits in URL-safe base64."""
_TOKEN_MASK: Final = "<token>"  # noqa: S105


def view(raw: Raw | bytes, *, tokens: bool = False) -> object:
    """A value in the types of JSON; tokens in it are masked unless asked for."""
    data = bytes(raw)
    try:
        if data.startswith(MARK):
            data = unpack(data, max_bytes=_LARGEST)
        return _view(cast("object", msgspec.json.decode(data)), tokens)
    except (SerializationError, msgspec.DecodeError) as error:
        return f"<unreadable: {error}>"


def view_payload(payload: Payload, *, tokens: bool = False) -> object:
    """What was sent to a hook."""
    if payload.content_type in (CODEC_TYPE, JSON_TYPE):
        return view(payload.raw, tokens=tokens)
    return payload.text or f"<{len(payload.data)} bytes of {payload.content_type}>"


def error_text(raw: Raw | bytes) -> tuple[str, str]:
    """A recorded exception in one line, and its traceback."""
    try:
        node = cast("object", msgspec.json.decode(bytes(raw)))
        if isinstance(node, dict) and "$z" in node:
            node = cast("object", msgspec.json.decode(unpack(bytes(raw), max_bytes=_LARGEST)))
    except (SerializationError, msgspec.DecodeError) as error:
        return f"<unreadable: {error}>", ""
    if not isinstance(node, dict):
        return str(node), ""
    fields = cast("dict[str, object]", node)
    return _error_line(fields), str(fields.get("tb", ""))


def _error_line(fields: dict[str, object]) -> str:
    kind = str(fields.get("c", "exception")).rpartition(":")[2]
    message = fields.get("m", "")
    return f"{kind}: {message}" if message else kind


def secrets_of(log: Sequence[Recorded]) -> frozenset[str]:
    """The tokens of the hooks in a link: chosen by users, or derived from its seed."""
    found: set[str] = set()
    seed: Seed | None = None
    for recorded in log:
        match recorded.event:
            case RunCreated(seed=hex_seed):
                seed = Seed(hex_seed)
            case HookCreated(ref=ref, token=token) if seed is not None:
                found.add(token or seed.token(ref))
            case _:
                pass
    return frozenset(found)


def hide(value: object, secrets: Collection[str]) -> object:
    """``value`` without the texts in ``secrets``, which a step may have got or given as plain strings."""
    match value:
        case str():
            for secret in secrets:
                value = value.replace(secret, _TOKEN_MASK)
            return value
        case list():
            return [hide(item, secrets) for item in cast("list[object]", value)]
        case dict():
            return {key: hide(item, secrets) for key, item in cast("dict[str, object]", value).items()}
        case _:
            return value


def masked(value: object) -> object:
    """``value``, a tree of JSON, without what the codec marked as secret and what looks like a generated token (R39)."""
    match value:
        case str():
            return TOKEN.sub(_TOKEN_MASK, value)
        case {"secret": True, "$t": str()}:
            return _MASK
        case {"$t": "ext", "c": str() as kind} if kind in _ALWAYS_SECRET:
            return _MASK
        case dict():
            return {key: masked(item) for key, item in cast("dict[str, object]", value).items()}
        case list():
            return [masked(item) for item in cast("list[object]", value)]
        case _:
            return value


def _view(node: object, tokens: bool) -> object:
    match node:
        case list():
            return [_view(item, tokens) for item in cast("list[object]", node)]
        case {"$t": str() as tag}:
            return _tagged(tag, cast("dict[str, object]", node), tokens)
        case dict():
            return {key: _view(item, tokens) for key, item in cast("dict[str, object]", node).items()}
        case _:
            return node


def _tagged(tag: str, node: dict[str, object], tokens: bool) -> object:
    value = node.get("v")
    if tag == "exception":
        return _error_line(node)
    if not tokens and (node.get("secret") is True or node.get("c") in _ALWAYS_SECRET):
        return _MASK
    if tag == "int":
        return int(str(value), 16)
    if tag in _MAPPINGS and isinstance(value, list):
        pairs = cast("list[tuple[object, object]]", value)
        return {
            key if isinstance(key, str) else msgspec.json.encode(_view(key, tokens)).decode(): _view(item, tokens)
            for key, item in pairs
        }
    return _view(value, tokens) if "v" in node else node


@runtime_checkable
class _Model(Protocol):
    """A pydantic model."""

    def model_dump(self, *, mode: str) -> object: ...


def plain(value: object) -> object:
    """``value`` in the types of JSON."""
    try:
        return cast("object", msgspec.to_builtins(value, str_keys=True, enc_hook=_other))
    except (TypeError, ValueError, RecursionError):
        return repr(value)


def _other(value: object) -> object:
    match value:
        case PurePath() | complex() | range():
            return str(value)
        case BaseException():
            return f"{type(value).__name__}: {value}"
        case _Model():
            return value.model_dump(mode="json")
        case _:
            return repr(value)
