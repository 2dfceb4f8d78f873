"""What a webhook is, to the run that opened it and to whoever answers its callers."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct

ReplyMode: TypeAlias = Literal["accepted", "static", "manual"]

GONE = ""
"""Stands in the place of an answer that will never come: the run or the webhook has ended."""


SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key", "x-auth-token"})
"""What views of a request leave out."""


class Answer(Struct, frozen=True, omit_defaults=True, gc=False):
    """What an HTTP caller gets."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


class Reply(Struct, frozen=True, omit_defaults=True, gc=False):
    """How callers are answered: 202 at once, with ``answer`` at once, or by the run within ``limit`` seconds."""

    mode: ReplyMode = "accepted"
    answer: Answer | None = None
    limit: float = 30.0


class WebhookSettings(Struct, frozen=True, omit_defaults=True, gc=False):
    """What the front door must know of a webhook. ``secrets`` sign its requests; ``verifier`` names a function that judges them."""

    base_url: str
    """What the webhook's URL begins with, for ever: a URL that was given away must not change on replay."""
    reply: Reply = Reply()
    secrets: tuple[str, ...] = ()
    verifier: str = ""


class RequestHead(Struct, frozen=True, omit_defaults=True, gc=False):
    """The HTTP request that brought a payload."""

    id: str
    method: str = "POST"
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    manual: bool = False
    """Its caller waits for the run to answer."""


_encoder = msgspec.json.Encoder()
_answers: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)
_replies: msgspec.json.Decoder[Reply] = msgspec.json.Decoder(Reply)
_settings: msgspec.json.Decoder[WebhookSettings] = msgspec.json.Decoder(WebhookSettings)


def encode(value: Answer | Reply | WebhookSettings) -> str:
    return _encoder.encode(value).decode()


def decode_answer(text: str) -> Answer:
    return _answers.decode(text)


def decode_reply(text: str) -> Reply:
    return _replies.decode(text)


def decode_settings(text: str) -> WebhookSettings:
    return _settings.decode(text)
