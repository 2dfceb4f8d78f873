"""Payloads of hooks: bytes from outside, read as the hook's type (R20)."""

from __future__ import annotations

from typing import Final, cast

import msgspec

from outlive._codec import Codec, Encoded
from outlive.errors import PayloadInvalid, SerializationError
from outlive.model.events import Payload

CODEC_TYPE: Final = "application/vnd.outlive+json"
JSON_TYPE: Final = "application/json"


def write(value: object, codec: Codec) -> Payload:
    """A Python value, as sent by ``resume_hook``."""
    return Payload(CODEC_TYPE, text=codec.encode(value, what="payload").decode())


def read(payload: Payload, kind: object, codec: Codec) -> object:
    """What the hook's receiver gets.

    Raises:
        PayloadInvalid: The payload can't be read, or is not a ``kind``.
    """
    media = payload.content_type.partition(";")[0].strip().lower()
    try:
        if media == CODEC_TYPE:
            value = codec.decode(Encoded(payload.raw))
        elif media == JSON_TYPE or media.endswith("+json"):
            value = msgspec.json.decode(payload.raw)
        elif media.startswith("text/"):
            value = payload.raw.decode()
        else:
            value = payload.raw
    except (SerializationError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise PayloadInvalid(f"the payload can't be read as {media}: {error}") from error
    return value if kind is None else fit(value, kind)


def fit(value: object, kind: object) -> object:
    """``value`` as a ``kind``: itself if it is one, else converted by pydantic or msgspec.

    Raises:
        PayloadInvalid: It can't be.
    """
    if isinstance(kind, type) and isinstance(value, kind):
        return value
    validate = getattr(kind, "model_validate", None)
    try:
        if validate is not None:
            return cast("object", validate(value))
        return msgspec.convert(value, cast("type[object]", kind), strict=True)
    except (ValueError, TypeError) as error:  # msgspec's and pydantic's errors are ValueErrors
        raise PayloadInvalid(f"the payload is not a {getattr(kind, '__name__', kind)}: {error}") from error
