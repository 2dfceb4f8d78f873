"""Who may do what: API keys, roles, and what each route needs. What is not declared is refused."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from msgspec import Struct
from starlette.requests import HTTPConnection
from starlette.types import Scope

from outlive.errors import ConfigurationError
from outlive.http.problems import Problem
from outlive.model.records import KeyRecord

if TYPE_CHECKING:
    from outlive.engine import Engine

F = TypeVar("F", bound=Callable[..., object])

PREFIX: Final = "olv_"
LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class Role(IntEnum):
    """What a caller may do; each may do what those before it may."""

    VIEWER = 1
    """Read runs, their logs, results and streams."""
    OPERATOR = 2
    """Start, cancel, wake and terminate runs, and resume hooks."""


class Caller(Struct, frozen=True):
    """Who a request is from."""

    name: str
    role: Role


class Auth(Protocol):
    """Finds who a request is from. Called with the bearer token, if one was sent, before anything of the body is read."""

    async def caller(self, bearer: str | None, scope: Scope) -> Caller | None: ...


PERMISSION: Final = "outlive_permission"
"""The attribute of an endpoint that says what it needs."""


def public(endpoint: F) -> F:
    """This route is open to everybody."""
    setattr(endpoint, PERMISSION, None)
    return endpoint


def needs(role: Role) -> Callable[[F], F]:
    """This route needs a caller with ``role``."""

    def declare(endpoint: F) -> F:
        setattr(endpoint, PERMISSION, role)
        return endpoint

    return declare


def declared(endpoint: object, path: str) -> Role | None:
    """What an endpoint needs; None: nothing.

    Raises:
        ConfigurationError: It does not say.
    """
    if not hasattr(endpoint, PERMISSION):
        raise ConfigurationError(f"the route {path} declares no permission; it needs @needs(Role...) or @public")
    permission: Role | None = getattr(endpoint, PERMISSION)
    return permission


async def authorize(auth: Auth, connection: HTTPConnection, role: Role | None) -> None:
    """Let the request through, or end it.

    Raises:
        Problem: 401: nobody is known by what it shows. 403: whoever it is may not.
    """
    if role is None:
        return
    caller = await auth.caller(bearer_of(connection), connection.scope)
    if caller is None:
        raise Problem(
            401, "this needs an API key: Authorization: Bearer olv_...", headers={"www-authenticate": "Bearer"}
        )
    if caller.role < role:
        raise Problem(403, f"this needs the role {role.name.lower()}; this key has the role {caller.role.name.lower()}")
    connection.scope["outlive_caller"] = caller


def bearer_of(connection: HTTPConnection) -> str | None:
    found = connection.headers.getlist("authorization")
    if len(found) != 1:  # none, or a request that two parties may read differently
        return None
    scheme, _, token = found[0].partition(" ")
    return token.strip() if scheme.lower() == "bearer" and 0 < len(token) <= 512 else None


def hash_key(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


async def create_key(
    engine: Engine, *, name: str, role: Role, expires_at: float | None = None
) -> tuple[KeyRecord, str]:
    """A new API key, and its text, which is shown once and not kept."""
    number = secrets.token_hex(4)
    text = f"{PREFIX}{number}_{secrets.token_urlsafe(32)}"
    record = KeyRecord(
        id=number,
        hash=hash_key(text),
        name=name,
        role=role.name.lower(),
        created_at=engine.store.clock.now(),
        expires_at=expires_at,
    )
    await engine.store.add_api_key(record)
    return record, text


class ApiKeys:
    """The keys in the engine's store (``outlive keys``). While there is none, a start-up token, good on this machine only."""

    def __init__(self, engine: Engine, *, startup: str | None = None) -> None:
        """``startup``: the token to use while there is no key; a new one unless given."""
        self._engine = engine
        self._given = startup
        self._startup: str | None = None
        self._used: dict[str, float] = {}

    async def start(self) -> str | None:
        """The start-up token, to be printed once; None if there are keys."""
        self._startup = None
        if not await self._engine.store.api_keys():
            self._startup = self._given or secrets.token_urlsafe(32)
        return self._startup

    async def caller(self, bearer: str | None, scope: Scope) -> Caller | None:
        if bearer is None or not bearer.isascii():
            return None
        if self._startup is not None and hmac.compare_digest(bearer, self._startup):
            return Caller("start-up token", Role.OPERATOR) if from_here(scope) else None
        if not bearer.startswith(PREFIX):
            return None
        record = await self._engine.store.api_key(hash_key(bearer))
        now = self._engine.store.clock.now()
        if record is None or (record.expires_at is not None and record.expires_at <= now):
            return None
        if self._used.get(record.id, 0.0) < now - 60:
            self._used[record.id] = now
            await self._engine.store.use_api_key(record.id, now=now)
        return Caller(record.name, Role[record.role.upper()])


def from_here(scope: Scope) -> bool:
    """Whether a request comes from this machine, and by its own name."""
    client = scope.get("client")
    host = HTTPConnection({**scope, "type": "http"}).headers.get("host", "")
    return client is not None and is_loopback(client[0]) and hostname(host) in LOOPBACK_NAMES


def is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def hostname(host: str) -> str:
    """Of a Host header, without the port."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.rpartition(":")[0].lower() if ":" in host else host.lower()
