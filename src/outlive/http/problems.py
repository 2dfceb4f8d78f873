"""Errors as clients see them: RFC 9457, an id and a code, and nothing of how it is made here."""

from __future__ import annotations

import logging
import secrets
from typing import Final

import msgspec
from fastapi import HTTPException as FastAPIException
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from outlive import errors

log: Final = logging.getLogger("outlive.http")

MEDIA_TYPE: Final = "application/problem+json"
_TITLES: Final = {
    400: "Bad request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    408: "Request timeout",
    409: "Conflict",
    410: "Gone",
    413: "Content too large",
    415: "Unsupported media type",
    421: "Misdirected request",
    422: "Unprocessable content",
    429: "Too many requests",
    431: "Request header fields too large",
    500: "Internal error",
    503: "Service unavailable",
    504: "Gateway timeout",
}
_STATUS: Final[tuple[tuple[type[Exception], int], ...]] = (
    (errors.RunNotFound, 404),
    (errors.HookNotFound, 404),
    (errors.UnknownWorkflow, 404),
    (errors.ConflictError, 409),
    (errors.PayloadError, 422),
    (errors.StoreUnavailable, 503),
)


class Problem(FastAPIException):
    """Ends a request with this status; ``detail`` is for the client, so it says nothing of the server's insides."""

    def __init__(self, status: int, detail: str, *, code: str = "", headers: dict[str, str] | None = None) -> None:
        super().__init__(status, detail, headers)
        self.code: str = code or _TITLES[status].lower().replace(" ", "-")
        self.id: str = secrets.token_hex(8)
        """Told to the client, and logged with what the client is not told."""


def respond(problem: Problem) -> Response:
    """``problem`` as a response."""
    body = {
        "type": f"about:blank#{problem.code}",
        "title": _TITLES[problem.status_code],
        "status": problem.status_code,
        "detail": problem.detail,
        "code": problem.code,
        "id": problem.id,
    }
    headers = {"cache-control": "no-store", **(problem.headers or {})}
    return Response(msgspec.json.encode(body), problem.status_code, headers, MEDIA_TYPE)


def of(error: Exception) -> Problem:
    """What to tell the client of ``error``; what it must not know is logged."""
    match error:
        case Problem():
            return error
        case HTTPException(status_code=status) if status in _TITLES:
            return Problem(status, _TITLES[status], headers=dict(error.headers or {}))
        case RequestValidationError():
            places = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()[:5])
            return Problem(422, places or "the request does not fit")
        case errors.StoreUnavailable():
            problem = Problem(503, "the store can't be used now", code=error.code, headers={"retry-after": "5"})
            log.error("request %s was refused, the store can't be used: %s", problem.id, error)
            return problem
        case _:
            pass
    for kind, status in _STATUS:
        if isinstance(error, kind):
            return Problem(status, str(error), code=getattr(error, "code", ""))
    problem = Problem(500, "something went wrong here; it was logged under this id")
    log.error("request %s failed", problem.id, exc_info=error)
    return problem


async def handle(_request: Request, error: Exception) -> Response:
    """The handler of every exception."""
    return respond(of(error))
