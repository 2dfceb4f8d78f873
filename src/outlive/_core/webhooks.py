"""Webhooks: hooks with a URL, whose payloads are HTTP requests."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import timedelta
from typing import Final, Literal, cast
from urllib.parse import parse_qsl

import msgspec
from typing_extensions import override

from outlive._codec import digest
from outlive._core.context import current, required
from outlive._core.hooks import Hook
from outlive._core.machine import Machine
from outlive._core.registry import stable_name
from outlive._core.streams import step_sink
from outlive._core.waiting import Durable
from outlive.errors import PayloadInvalid, UsageError
from outlive.model import commands as cmd
from outlive.model import events as ev
from outlive.model.durations import seconds
from outlive.model.webhooks import Answer, Reply, RequestHead, WebhookSettings, encode

PATH: Final = "/.well-known/workflow/v1/webhook/"
LARGEST_ANSWER: Final = 1_048_576
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NO_BODY: Final = frozenset({204, 304})

Verifier = Callable[[Mapping[str, str], bytes], object]
"""Given the headers, in lower case, and the body: raises, or returns False, if the request is not genuine."""


class WebhookUrl(str):
    """A URL that is a secret: whoever has it may send. Views of the log mask it."""

    __slots__ = ()


class Response:
    """What a caller of a webhook gets: ``Response(json={"ok": True})``, ``Response(303, headers={"location": url})``.

    Args:
        status: 200 to 599.
        json: Any JSON value; sets the content type.
        text: Plain text.
        body: Bytes; name their type in ``headers``.
        headers: Others.
    """

    __slots__ = ("answer",)

    def __init__(
        self,
        status: int = 200,
        *,
        json: object = msgspec.UNSET,
        text: str | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        if not 200 <= status <= 599:
            raise ValueError(f"{status} is not the status of an answer: 200 to 599")
        if (json is not msgspec.UNSET) + (text is not None) + (body is not None) > 1:
            raise TypeError("an answer has one body: json, text or body")
        content, kind = b"", ""
        if json is not msgspec.UNSET:
            content, kind = msgspec.json.encode(json), "application/json"
        elif text is not None:
            content, kind = text.encode(), "text/plain; charset=utf-8"
        elif body is not None:
            content, kind = body, "application/octet-stream"
        if status in _NO_BODY and content:
            raise ValueError(f"an answer with status {status} has no body")
        if len(content) > LARGEST_ANSWER:
            raise ValueError(f"an answer has at most {LARGEST_ANSWER:,} bytes")
        given = {name.lower(): value for name, value in (headers or {}).items()}
        for name, value in given.items():
            if not _TOKEN.fullmatch(name) or any(ord(letter) < 32 or ord(letter) > 255 for letter in value):
                raise ValueError(f"{name!r} can't be a header with this value")
        if kind:
            given.setdefault("content-type", kind)
        self.answer: Answer = Answer(status, tuple(given.items()), content)

    def __repr__(self) -> str:
        return f"Response({self.answer.status}, {len(self.answer.body)} bytes)"


class WebhookRequest:
    """A request that came to a webhook; passes to steps as an argument."""

    __slots__ = ("_body", "_content_type", "_head", "url")

    def __init__(self, head: RequestHead, url: str, content_type: str, body: bytes) -> None:
        self._head = head
        self._content_type = content_type
        self._body = body
        self.url: WebhookUrl = WebhookUrl(url)
        """As it was called, with its query."""

    @property
    def id(self) -> str:
        """Names this delivery."""
        return self._head.id

    @property
    def method(self) -> str:
        return self._head.method

    @property
    def headers(self) -> dict[str, str]:
        """By name in lower case; a header that came several times is joined with commas."""
        joined: dict[str, str] = {}
        for name, value in self._head.headers:
            joined[name] = f"{joined[name]}, {value}" if name in joined else value
        return joined

    @property
    def query(self) -> dict[str, str]:
        """The parameters of the URL; of one that came several times the last."""
        return dict(parse_qsl(self._head.query, keep_blank_values=True))

    async def body(self) -> bytes:
        return self._body

    async def text(self) -> str:
        """The body as UTF-8.

        Raises:
            PayloadInvalid: It is not.
        """
        try:
            return self._body.decode()
        except UnicodeDecodeError as error:
            raise PayloadInvalid(f"the body is not text: {error}") from error

    async def json(self) -> object:
        """The body as JSON, whatever its content type.

        Raises:
            PayloadInvalid: It is not JSON.
        """
        try:
            return cast("object", msgspec.json.decode(self._body))
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise PayloadInvalid(f"the body is not JSON: {error}") from error

    def respond(
        self,
        status: int = 200,
        *,
        json: object = msgspec.UNSET,
        text: str | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Coroutine[object, None, bool]:
        """Answer the caller, who waits for it, from the workflow or from a step. The first answer counts: False if there was another.

        Raises:
            UsageError: The caller was answered at once; see ``respond_with="manual"``.
        """
        if not self._head.manual:
            raise UsageError(
                'this caller was answered at once; for one that waits: create_webhook(respond_with="manual")'
            )
        answer = Response(status, json=json, text=text, body=body, headers=headers).answer
        machine = current()
        if machine is not None:
            return _answer_in_body(machine, self._head.id, answer)
        return self._from_step(answer)

    async def _from_step(self, answer: Answer) -> bool:
        sink = step_sink.get(None)
        if sink is None:
            raise UsageError("respond() has a meaning only in the workflow that got the request, or in a step of it")
        return await sink.respond(self._head.id, answer)

    def __repr__(self) -> str:
        return f"<{self.method} request {self.id}>"

    # --- how it travels ---

    def packed(self) -> dict[str, object]:
        head = msgspec.to_builtins(self._head)
        return {"head": head, "url": str(self.url), "content_type": self._content_type, "body": self._body}

    @classmethod
    def unpacked(cls, packed: dict[str, object]) -> WebhookRequest:
        head = msgspec.convert(packed["head"], RequestHead)
        return cls(head, cast("str", packed["url"]), cast("str", packed["content_type"]), cast("bytes", packed["body"]))


def _answer_in_body(machine: Machine, request: str, answer: Answer) -> Durable[bool]:
    async def respond() -> bool:
        mark = digest(msgspec.json.encode([request, encode(answer)]))
        ref = machine.issue("call", "respond", mark)
        command = cmd.SendAnswer(ref, mark, request, answer)
        return bool(await machine.call(command, machine.loop.create_future(), ref))

    return Durable(respond())


class Webhook(Hook[WebhookRequest]):
    """A hook that the world reaches over HTTP."""

    def __init__(self, machine: Machine, settings: WebhookSettings, metadata: object) -> None:
        ref = machine.next_ref
        recorded = machine.webhook_bases.get(ref)  # a URL that was given away does not change on replay
        if recorded is not None:
            settings = msgspec.structs.replace(settings, base_url=recorded)
        super().__init__(machine, None, None, metadata, settings)
        self.url: WebhookUrl = WebhookUrl(f"{settings.base_url}{PATH}{self.token}")

    @override
    def _read(self, event: ev.HookReceived) -> object:
        payload = event.payload
        head = payload.request or RequestHead(id=f"{self.ref}")
        url = f"{self.url}?{head.query}" if head.query else self.url
        return WebhookRequest(head, url, payload.content_type, payload.raw)

    @override
    def refusal(self, payload: ev.Payload) -> str:
        return ""  # raw bytes are what they are


def create_webhook(
    *,
    respond_with: Response | Literal["manual"] | None = None,
    respond_within: str | float | timedelta = 30.0,
    secret: str | Sequence[str] | None = None,
    verify: Verifier | None = None,
    metadata: object = None,
) -> Webhook:
    """Open a URL at which the world can reach this run; see :class:`Webhook` and, for who serves it, ``outlive serve``.

    Args:
        respond_with: What callers get: unset 202 at once, a :class:`Response` at once, or ``"manual"``: what ``request.respond()`` says.
        respond_within: With ``"manual"``: how long a caller waits before it gets 504. The run may still take the request then.
        secret: Requests must be signed with this, or one of these (``whsec_...``), as https://www.standardwebhooks.com says.
        verify: A function of a module that judges requests: called with headers and body, it raises or returns False for one that is
            not genuine. It is called where the HTTP request arrives, by its name.
        metadata: Shown with the hook.

    Raises:
        NotInWorkflow: Called outside a workflow body.
        ValueError: A secret is not one, or the function has no name of its own.
    """
    machine = required("create_webhook()")
    secrets = (secret,) if isinstance(secret, str) else tuple(secret or ())
    for one in secrets:
        _check_secret(one)
    limit = seconds(respond_within)
    if not 0 < limit <= 3_600 or not math.isfinite(limit):
        raise ValueError("respond_within is more than 0 and at most an hour")
    if respond_with is None:
        reply = Reply()
    elif respond_with == "manual":
        reply = Reply("manual", limit=limit)
    elif isinstance(cast("object", respond_with), Response):
        reply = Reply("static", respond_with.answer)
    else:
        raise TypeError('respond_with is a Response, "manual", or left out')
    settings = WebhookSettings(
        base_url=machine.base_url,
        reply=reply,
        secrets=secrets,
        verifier="" if verify is None else _name_of(machine, verify),
    )
    return Webhook(machine, settings, metadata)


def _check_secret(secret: str) -> None:
    """Standard Webhooks: 24 to 64 bytes in base64, with or without the prefix."""
    from base64 import b64decode

    try:
        raw = b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        raw = b""
    if not 24 <= len(raw) <= 64:
        raise ValueError("a webhook secret is 24 to 64 bytes in base64, like whsec_...; make one: outlive keys secret")


def _name_of(machine: Machine, verify: Verifier) -> str:
    name = stable_name(verify)
    if machine.find_function(name) is not verify:
        raise ValueError(
            f"{name} can't be found by its name; a verifier is a function at the top of a module that defines a step or workflow"
        )
    return name
