"""Python values to bytes and back."""

from __future__ import annotations

import math
from datetime import date, timedelta
from decimal import Decimal
from types import NoneType
from typing import Final, NewType, cast
from uuid import UUID

import msgspec

from outlive._codec import compression
from outlive._codec.compression import Compression
from outlive._codec.decode import Unreadable, plainly
from outlive._codec.encode import Shapes, Walker
from outlive._codec.exceptions import Exceptions, as_text_only
from outlive._codec.limits import COMPRESS_OVER, LARGEST, MAX_BYTES, MAX_DEPTH, SMALLEST
from outlive._codec.nodes import Node
from outlive._codec.refusal import Refused
from outlive._codec.types import TypeRegistry
from outlive.errors import SerializationError

Encoded = NewType("Encoded", bytes)
"""One complete JSON text in UTF-8: it may stand verbatim in a larger one."""

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder().decode
_FLAT: Final = frozenset({str, bool, NoneType})
_IMMUTABLE: Final = frozenset({NoneType, bool, int, float, complex, str, bytes, date, timedelta, Decimal, UUID})
_NESTED_TUPLES: Final = 8
_TEXT_ROOM: Final = 10_000


class Codec:
    """Carries values by tagged JSON; the format is in ``docs/decisions/codec-format.md``.

    Args:
        types: The classes that may be rebuilt. Unset means only what is always known.
        max_bytes: How long one encoded value may be before compression.
        max_depth: How deep its containers may be nested.
        compress_over: The length from which compression is tried.
        compression: ``"zstd"`` needs ``outlive[zstd]`` wherever the value is read.
    """

    def __init__(
        self,
        types: TypeRegistry | None = None,
        *,
        max_bytes: int = MAX_BYTES,
        max_depth: int = MAX_DEPTH,
        compress_over: int = COMPRESS_OVER,
        compression: Compression = "zlib",
    ) -> None:
        self.types: TypeRegistry = TypeRegistry() if types is None else types
        self._max_bytes = max_bytes
        self._max_depth = max_depth
        self._compress_over = compress_over
        self._compression: Compression = compression
        self._shapes: Shapes = {}
        self._exceptions = Exceptions(types=self.types, shapes=self._shapes, max_depth=max_depth)

    def encode(self, value: object, *, what: str = "value") -> Encoded:
        """``value`` as one JSON text.

        Args:
            value: What to carry.
            what: What it is called in the path of an error.

        Raises:
            SerializationError: Something in it can't be carried; the message names where and what.
        """
        kind = type(value)
        if (
            kind in _FLAT
            or (kind is int and SMALLEST <= cast("int", value) <= LARGEST)
            or (kind is dict and _is_flat(cast("dict[object, object]", value)))
        ):
            try:
                data = _encode(value)
            except UnicodeEncodeError:
                return self._encode_tree(value, what)
            # A '"$' may be a key that looks like a tag; only the walk can tell.
            if len(data) <= self._compress_over and b'"$' not in data:
                return Encoded(data)
        return self._encode_tree(value, what)

    def decode(self, data: bytes | bytearray | memoryview | msgspec.Raw) -> object:
        """The value that was encoded.

        Raises:
            SerializationError: It is damaged, or names what this process does not know; the message says what to do.
        """
        raw = data if type(data) is bytes else bytes(data)
        if raw.startswith(compression.MARK):
            raw = compression.unpack(raw, max_bytes=self._max_bytes)
        try:
            node = cast("Node", _decode(raw))
            return node if b'"$' not in raw else self._exceptions.builder.build(node, 1)
        except Unreadable as unreadable:
            raise SerializationError(f"a stored value {unreadable}") from unreadable.__cause__
        except RecursionError:
            raise SerializationError("a stored value is nested too deep to be read") from None
        except Exception as error:  # whatever a damaged tree makes a builder raise
            raise SerializationError(f"a stored value {plainly(error)}") from error

    def encode_exception(self, exc: BaseException) -> Encoded:
        """``exc`` with its chain, notes and traceback, in the form in which it can come back.

        Never fails because of what ``exc`` holds.
        """
        try:
            return self.encode(exc, what=type(exc).__qualname__)
        except (
            Exception
        ):  # a chain too long, or an exception that defends itself: its type and its text still get through
            return self._pack(
                _encode(as_text_only(self._walker(careful=True), exc, room=min(_TEXT_ROOM, self._max_bytes // 16)))
            )

    def decode_exception(self, data: bytes | bytearray | memoryview | msgspec.Raw) -> BaseException:
        """The exception that was encoded, in the form that was decided then: its own type, or ``StepError``.

        Raises:
            SerializationError: Its own type is not known here any more.
        """
        made = self.decode(data)
        if not isinstance(made, BaseException):
            raise SerializationError("a stored value is no exception, where one was recorded")
        return made

    def transport(self, value: object) -> object:
        """What ``decode(encode(value))`` gives, without the work where nothing could differ.

        Raises:
            SerializationError: As ``encode``.
        """
        if type(value) in _IMMUTABLE or _is_immutable(value, _NESTED_TUPLES):
            return value
        return self.decode(self.encode(value))

    def _encode_tree(self, value: object, what: str) -> Encoded:
        try:
            try:
                data = _encode(self._walker(careful=False).walk(value, 1))
            except UnicodeEncodeError:
                data = _encode(self._walker(careful=True).walk(value, 1))
        except Refused as refused:
            raise SerializationError(refused.describe(what)) from refused.__cause__
        except RecursionError:
            raise SerializationError(
                f"{what}: nested too deep to be encoded from here; the call stack is nearly full"
            ) from None
        except RuntimeError as error:  # another thread had its hands in it
            raise SerializationError(f"{what}: changed while it was being encoded ({error})") from error
        if len(data) > self._max_bytes:
            raise SerializationError(
                f"{what}: takes {len(data):,} bytes and the limit is {self._max_bytes:,};"
                " store it elsewhere and pass where it is, or raise max_bytes"
            )
        return self._pack(data)

    def _walker(self, *, careful: bool) -> Walker:
        return Walker(
            types=self.types,
            shapes=self._shapes,
            record=self._exceptions.record,
            max_depth=self._max_depth,
            budget=self._max_bytes // 2,  # the shortest container takes two bytes
            careful=careful,
        )

    def _pack(self, data: bytes) -> Encoded:
        return Encoded(data if len(data) <= self._compress_over else compression.pack(data, self._compression))


def _is_flat(value: dict[object, object]) -> bool:
    """Whether all keys are strings and all values plain; keys that look like tags are not seen here."""
    for key, item in list(value.items()):
        if type(key) is not str:
            return False
        kind = type(item)
        if kind in _FLAT:
            continue
        if kind is int:
            if not SMALLEST <= cast("int", item) <= LARGEST:
                return False
        elif kind is not float or not math.isfinite(cast("float", item)):
            return False
    return True


def _is_immutable(value: object, levels: int) -> bool:
    if type(value) in _IMMUTABLE:
        return True
    return (
        type(value) is tuple
        and levels > 0
        and all(_is_immutable(item, levels - 1) for item in cast("tuple[object, ...]", value))
    )
