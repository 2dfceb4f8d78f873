"""Where the world calls: a request that got its answer is durable, whatever dies next."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from outlive.http.auth import public
from outlive.http.problems import Problem
from outlive.model.entries import Accepted, Refused
from outlive.model.events import Payload
from outlive.model.ids import RunId
from outlive.model.webhooks import Answer, Reply, RequestHead, WebhookSettings, decode_reply

if TYPE_CHECKING:
    from outlive.engine import Engine

log: Final = logging.getLogger("outlive.http")

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_HOP: Final = frozenset({"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "expect"})
_GONE: Final = "the webhook has ended"


@public
async def webhook(request: Request) -> Response:
    """Accept a request for a run."""
    engine: Engine = request.app.state.engine
    token: str = request.path_params["token"]
    if not _TOKEN.fullmatch(token):
        raise Problem(404, "there is no such webhook")
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise Problem(415, "send the body as it is, not compressed")
    body = await request.body()
    key = _key(token, request)
    settings = await engine.requests.webhook(token)
    if settings is not None:
        await _verify(engine, settings, request, body)
    reply = Reply() if settings is None else settings.reply
    head = RequestHead(
        id=key or secrets.token_hex(16),
        method=request.method,
        query=request.url.query,
        headers=tuple((name, value) for name, value in request.headers.items() if name not in _HOP),
        manual=reply.mode == "manual",
    )
    payload = Payload.of(request.headers.get("content-type", "application/octet-stream"), body, head)
    outcome = await engine.requests.accept(token, payload, key=key, reply=reply)
    match outcome:
        case Accepted(run=run, repeated=repeated, reply=before):
            return await _answer(engine, run, head.id, decode_reply(before) if repeated and before else reply)
        case Refused(reason="full"):
            raise Problem(429, "too many requests wait for this webhook", headers={"retry-after": "5"})
        case Refused(reason="ended"):
            raise Problem(410, _GONE)
        case Refused():
            raise Problem(404, "there is no such webhook")


def _key(token: str, request: Request) -> str:
    """Deduplicates deliveries to one webhook; empty if the caller gives none. ``webhook-id`` is first: a signature covers it."""
    given = request.headers.get("webhook-id") or request.headers.get("idempotency-key") or ""
    if len(given) > 255:
        raise Problem(422, "an Idempotency-Key has at most 255 characters")
    return hashlib.sha256(f"{token}\0{given}".encode()).hexdigest() if given else ""


async def _verify(engine: Engine, settings: WebhookSettings, request: Request, body: bytes) -> None:
    headers = {name.lower(): value for name, value in request.headers.items()}
    if settings.secrets and not any(_signed(secret, headers, body) for secret in settings.secrets):
        raise Problem(401, "the signature is missing, wrong or too old", code="bad-signature")
    if settings.verifier:
        verify = engine.registry.function(settings.verifier)
        if verify is None:
            log.error("a webhook's verifier is not known here: %s; import its module", settings.verifier)
            raise Problem(503, "this can't be verified here now", headers={"retry-after": "30"})
        try:
            genuine = await run_in_threadpool(verify, headers, body)
        except Exception as error:  # whatever a verifier raises means no
            log.info("a request was refused by %s: %s", settings.verifier, type(error).__name__)
            genuine = False
        if genuine is False:
            raise Problem(401, "the request is not genuine", code="bad-signature")


def _signed(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
    try:
        Webhook(secret).verify(body, dict(headers), json_parse=False)
    except (WebhookVerificationError, ValueError, UnicodeDecodeError):
        return False
    return True


async def _answer(engine: Engine, run: RunId, request: str, reply: Reply) -> Response:
    if reply.mode == "static" and reply.answer is not None:
        return _response(reply.answer)
    if reply.mode != "manual":
        return JSONResponse({"status": "accepted"}, 202)
    try:
        async with asyncio.timeout(reply.limit):
            answer = await engine.requests.answer(run, request)
    except TimeoutError:
        raise Problem(504, "the workflow did not answer in time; it has the request all the same") from None
    if answer is None:
        raise Problem(410, _GONE)
    return _response(answer)


def _response(answer: Answer) -> Response:
    response = Response(answer.body, answer.status)
    for name, value in answer.headers:
        response.headers[name] = value
    return response
