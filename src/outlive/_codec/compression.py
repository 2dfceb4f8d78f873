"""Large encodings made smaller, and made large again within a bound."""

from __future__ import annotations

import base64
import binascii
import importlib
import zlib
from typing import Final, Literal, Protocol, cast

import msgspec

from outlive.errors import SerializationError

Compression = Literal["zlib", "zstd"]
MARK: Final = b'{"$z":'
_ZLIB_LEVEL: Final = (
    1  # level 6 saves about a tenth more and costs three times the time, on the path of every large step
)


class Packed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A compressed encoding: how, the length of what it holds, base64."""

    method: str = msgspec.field(name="$z")
    length: int = msgspec.field(name="n")
    data: str = msgspec.field(name="v")


_packed = msgspec.json.Decoder(Packed)


class _ZstdPackage(Protocol):
    """What ``zstandard`` and, from Python 3.14 on, ``compression.zstd`` have in common here."""

    def compress(self, data: bytes, /) -> bytes: ...


def pack(raw: bytes, method: Compression) -> bytes:
    """``raw`` compressed, or ``raw`` itself where that saves less than a tenth."""
    squeezed = zlib.compress(raw, _ZLIB_LEVEL) if method == "zlib" else _zstd().compress(raw)
    if len(squeezed) * 4 // 3 > len(raw) * 9 // 10:
        return raw
    return msgspec.json.encode(Packed(method=method, length=len(raw), data=base64.b64encode(squeezed).decode("ascii")))


def unpack(data: bytes, *, max_bytes: int) -> bytes:
    """The encoding inside ``data``, which starts with ``MARK``.

    Raises:
        SerializationError: It is damaged, larger than ``max_bytes``, not as large as it says, or needs a package that
            is missing.
    """
    try:
        packed = _packed.decode(data)
        squeezed = base64.b64decode(packed.data, validate=True)
    except (msgspec.MsgspecError, binascii.Error, UnicodeError) as error:
        raise SerializationError(f"a compressed value is damaged: {error}") from error
    if not 0 <= packed.length <= max_bytes:
        raise SerializationError(
            f"a compressed value of {packed.length:,} bytes exceeds the limit of {max_bytes:,}; raise max_bytes"
        )
    match packed.method:
        case "zlib":
            raw = _inflate(squeezed, packed.length)
        case "zstd":
            raw = _zstd_inflate(squeezed, packed.length)
        case method:
            raise SerializationError(
                f"a value is compressed with {method!r}, which this Outlive does not know; upgrade Outlive"
            )
    if len(raw) != packed.length:
        raise SerializationError(f"a compressed value says it holds {packed.length:,} bytes and does not")
    return raw


def _inflate(squeezed: bytes, length: int) -> bytes:
    inflater = zlib.decompressobj()
    try:
        raw = inflater.decompress(squeezed, length + 1)
    except zlib.error as error:
        raise SerializationError(f"a compressed value is damaged: {error}") from error
    if not inflater.eof and len(raw) == length:
        raise SerializationError("a compressed value is cut short")
    return raw


def _zstd() -> _ZstdPackage:
    """The zstd package of this Python; its two names are fixed here, none comes from data."""
    for name in ("compression.zstd", "zstandard"):
        try:
            return cast("_ZstdPackage", cast("object", importlib.import_module(name)))
        except ImportError:
            continue
    raise SerializationError("this value needs zstd compression: install outlive[zstd]")


class _Reader(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _ZstandardDecompressor(Protocol):
    def stream_reader(self, source: bytes, /) -> _Reader: ...


class _StdlibDecompressor(Protocol):
    def decompress(self, data: bytes, /, max_length: int) -> bytes: ...


def _zstd_inflate(squeezed: bytes, length: int) -> bytes:
    package = _zstd()
    try:
        if hasattr(package, "ZstdDecompressor") and package.__dict__["__name__"] == "zstandard":
            reader = cast("type[_ZstandardDecompressor]", package.__dict__["ZstdDecompressor"])().stream_reader(
                squeezed
            )
            return reader.read(length + 1)
        return cast("type[_StdlibDecompressor]", package.__dict__["ZstdDecompressor"])().decompress(
            squeezed, max_length=length + 1
        )
    except Exception as error:  # ZstdError of either package; they share no base
        raise SerializationError(f"a compressed value is damaged: {error}") from error
