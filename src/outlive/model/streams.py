"""Streams: ordered output of a run, in chunks that are numbered as they become durable."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec
from msgspec import Struct

from outlive.model.ids import RunId

ChunkKind: TypeAlias = Literal["value", "bytes", "reset", "close"]
"""A value in the codec's JSON; bytes as they are; a note that earlier chunks are void; the end."""

Piece: TypeAlias = tuple[ChunkKind, bytes]

LARGEST: Final = 1_048_576
"""Bytes of one chunk."""


class Written(Struct, frozen=True, gc=False):
    """What an attempt of the step ``ref`` wrote to one stream, or, with ref of a command, the body."""

    stream: str
    ref: int
    pieces: tuple[Piece, ...]


class Voided(Struct, frozen=True, gc=False):
    """All that earlier attempts of the step ``ref`` wrote is void: another attempt begins."""

    ref: int


StreamWrite: TypeAlias = Written | Voided


class Reset(Struct, frozen=True, gc=False):
    """The content of a ``reset`` chunk: what ``ref`` wrote from ``since`` on is void."""

    since: int
    link: int
    ref: int


class Chunk(Struct, frozen=True, gc=False):
    """A chunk in its place; ``index`` counts from 0 in its stream, and a reader goes on from ``index + 1``."""

    index: int
    kind: ChunkKind
    link: int
    ref: int
    time: float
    data: bytes


class StreamRecord(Struct, frozen=True, gc=False):
    """One stream of a run. ``length``: the index that the next chunk gets."""

    name: str
    length: int
    closed: bool
    first_at: float
    last_at: float


def streams_of(run: RunId) -> str:
    """Under which name news of the streams of ``run`` are told."""
    return _STREAMS + run


_STREAMS: Final = "streams of "
_resets: Final = msgspec.json.Decoder(Reset)


def encode_reset(reset: Reset) -> bytes:
    return msgspec.json.encode(reset)


def decode_reset(data: bytes) -> Reset:
    return _resets.decode(data)
