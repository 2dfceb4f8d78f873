"""A durable HTTP call: ``await fetch(url)`` in a workflow. Needs the extra ``server``.

The response is recorded like the result of any step, so a call that was answered is never made again. Before that it is made at least
once: whatever changes something on the other side carries an ``Idempotency-Key`` that is the same in each attempt.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.util import find_spec
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from outlive._core.authoring import step
from outlive._core.context import get_step_metadata
from outlive.errors import FatalError, NotInWorkflow, RetryableError

if find_spec("httpx2") is None:
    raise ImportError("outlive.contrib.http needs httpx2; install it: pip install 'outlive[server]'")
import httpx2  # after the better message

LARGEST: Final = 8 * 1024 * 1024
LONGEST_WAIT: Final = 3_600.0
"""Seconds; a server that asks for more patience does not get it."""
_AGAIN: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses after which the same request may do better (RFC 9110, 15.6; RFC 6585); of the other 5xx all but 501 and 505."""
_NEVER: Final = frozenset({501, 505})
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_EXCERPT: Final = 200
_ours: Final = ContextVar("outlive_fetch", default=False)


def _of_others(_: logging.LogRecord) -> bool:
    """httpx2 says each request's whole URL at level INFO; what is secret in ours must not reach a log."""
    return not _ours.get()


logging.getLogger("httpx2").addFilter(_of_others)


@dataclass(frozen=True)
class FetchResponse:
    """What a server answered. Header names are in lower case; the body is as sent, after its content coding was undone."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether the status is one of success: 200 to 299."""
        return 200 <= self.status < 300

    def text(self) -> str:
        """The body in the charset that it is sent in, else UTF-8."""
        kind = self.headers.get("content-type", "")
        charset = kind.lower().partition("charset=")[2].partition(";")[0].strip(" \"'") or "utf-8"
        try:
            return self.body.decode(charset, errors="replace")
        except LookupError:
            return self.body.decode(errors="replace")

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            ValueError: It is none.
        """
        return msgspec.json.decode(self.body)


class FetchError(Exception):
    """A call that did not succeed, after all its attempts.

    Its text names method, host and path, and no more: what stands in a query, in headers or in bodies may be secret.
    """

    def __init__(self, message: str, *, status: int = 0, body: bytes = b"") -> None:
        super().__init__(message)
        self.status = status
        """0: there was no answer."""
        self.body = body
        """The first 64 KiB of the answer's body."""


class FetchRefused(FetchError, FatalError):
    """One that would not do better in another attempt: a status of 4xx, an answer that is too long, a URL that is none."""


class FetchBusy(FetchError, RetryableError):
    """One for which the server named the time of the next attempt."""

    def __init__(self, message: str, *, status: int = 0, body: bytes = b"", retry_after: float | None = None) -> None:
        super().__init__(message, status=status, body=body)
        self.retry_after = retry_after


@step(max_retries=5)
async def fetch(
    url: str,
    *,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    params: dict[str, str] | None = None,
    json: Any = None,
    content: bytes | str | None = None,
    timeout: float = 30.0,
    max_bytes: int = LARGEST,
    raise_for_status: bool = True,
) -> FetchResponse:
    """Call ``url``, and record the response: a step like any other, so ``fetch.options(max_retries=10)`` and ``asyncio.timeout`` apply.

    Tried again, with the delays of steps: when there is no connection or no answer in time, on 408, 425, 429 and 5xx (not 501, 505).
    ``Retry-After`` is honoured up to an hour. Redirects are not followed: they would carry credentials to where they were not sent.

    Args:
        url: Of http or https.
        method: Other methods than GET, HEAD, OPTIONS and TRACE send an ``Idempotency-Key``, unless ``headers`` has one.
        json: Sent as the body, with its content type; or ``content``, as it is.
        timeout: Seconds for connecting, and for each pause in the answer.
        max_bytes: The longest body to take, after its content coding was undone.
        raise_for_status: Whether an answer of 4xx that another attempt would not change is an exception; if not, it is returned, as
            redirects always are.

    Raises:
        FetchError: There was no answer, or none of success. ``status`` and ``body`` say which.
    """
    method = method.upper()
    where = _where(method, url)
    if json is not None and content is not None:
        raise FetchRefused(f"{where}: give json or content, not both")
    sent = {"user-agent": "outlive", **(headers or {})}
    if json is not None:
        content = msgspec.json.encode(json)
        sent.setdefault("content-type", "application/json")
    if method not in _SAFE and not any(name.lower() == "idempotency-key" for name in sent):
        sent["idempotency-key"] = _key()
    quiet = _ours.set(True)
    try:
        async with (
            httpx2.AsyncClient(timeout=timeout, follow_redirects=False) as client,
            client.stream(method, url, headers=sent, params=params, content=content) as answer,
        ):
            body = await _body(answer, where, max_bytes)
    except (httpx2.UnsupportedProtocol, httpx2.InvalidURL, httpx2.LocalProtocolError) as error:
        raise FetchRefused(f"{where}: {type(error).__name__}") from None
    except (
        httpx2.HTTPError
    ) as error:  # no connection, no answer in time, an answer that broke off: its text may quote the URL
        raise FetchError(f"{where}: {type(error).__name__}") from None
    finally:
        _ours.reset(quiet)
    response = FetchResponse(answer.status_code, {name.lower(): value for name, value in answer.headers.items()}, body)
    _judge(response, where, raise_for_status=raise_for_status)
    return response


def _where(method: str, url: str) -> str:
    """The call without its secrets.

    Raises:
        FetchRefused: ``url`` is none of http.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise FetchRefused(f"{method}: that is no URL") from None
    if parts.scheme not in ("http", "https") or not host:
        raise FetchRefused(f"{method}: only http:// and https:// URLs can be called")
    return f"{method} {parts.scheme}://{host}{f':{port}' if port else ''}{parts.path}"


def _key() -> str:
    """The same in each attempt of a step, and of no other."""
    try:
        return hashlib.sha256(get_step_metadata().step_id.encode()).hexdigest()
    except NotInWorkflow:  # called as a plain function, once
        return secrets.token_hex(32)


async def _body(answer: httpx2.Response, where: str, most: int) -> bytes:
    """Counted as it comes, whatever its headers promise."""
    body = bytearray()
    async for piece in answer.aiter_bytes(65_536):
        body += piece
        if len(body) > most:
            raise FetchRefused(f"{where}: the answer is longer than {most:,} bytes", status=answer.status_code)
    return bytes(body)


def _judge(response: FetchResponse, where: str, *, raise_for_status: bool) -> None:
    status = response.status
    if status < 400:
        return
    message, body = f"{where}: {status}", response.body[:65_536]
    if status in _AGAIN or (status >= 500 and status not in _NEVER):
        after = _retry_after(response.headers.get("retry-after", "")) if status in (429, 503) else None
        if after is not None:
            raise FetchBusy(message, status=status, body=body, retry_after=after)
        raise FetchError(message, status=status, body=body)
    if raise_for_status:
        raise FetchRefused(message, status=status, body=body)


def _retry_after(value: str) -> float | None:
    """Seconds from now; None if it says nothing that can be read (RFC 9110, 10.2.3)."""
    try:
        if value.strip().isdecimal():
            wanted = float(value)
        else:
            moment = parsedate_to_datetime(value)
            wanted = (moment.astimezone(UTC) - datetime.now(UTC)).total_seconds()
    except (ValueError, OverflowError):
        return None
    return min(max(wanted, 0.0), LONGEST_WAIT)
