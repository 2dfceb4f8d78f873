"""``outlive keys``: who may use the HTTP API, and secrets for webhooks."""

from __future__ import annotations

import asyncio
import base64
import secrets
import time
from typing import Final, Literal

from cyclopts import App

from outlive.cli import exits
from outlive.cli.opening import client, working_url
from outlive.cli.options import AsJson, Url
from outlive.cli.output import from_now, iso, line, on_terminal, print_json, table
from outlive.cli.serving import needs_server
from outlive.engine import Engine
from outlive.model.durations import seconds
from outlive.model.records import KeyRecord

app: Final = App(name="keys", help="API keys of the HTTP API.", result_action="return_value")


@app.command
def create(
    name: str,
    /,
    *,
    role: Literal["viewer", "operator"] = "viewer",
    expires: str | None = None,
    url: Url = None,
    json: AsJson = False,
) -> None:
    """Make a key, and print it: this once, for only its hash is kept.

    Parameters
    ----------
    name
        Whose, or what for.
    role
        A viewer reads; an operator also starts, cancels, wakes and resumes.
    expires
        How long it is good: 90d, 12h. Unset: until it is revoked.
    """
    if not name.strip() or len(name) > 200 or not name.isprintable():
        raise exits.Complaint("the name of a key has 1 to 200 printable characters")
    needs_server()
    try:
        life = None if expires is None else seconds(expires)
    except ValueError as error:
        raise exits.Complaint(str(error)) from error
    record, text = asyncio.run(_create(working_url(url), name, role, life))
    if json:
        print_json({**_readable(record), "key": text})
    else:
        print(text)


async def _create(url: str, name: str, role: str, life: float | None) -> tuple[KeyRecord, str]:
    from outlive.http.auth import Role, create_key

    async with Engine(url, worker=False) as engine:
        until = None if life is None else engine.store.clock.now() + life
        return await create_key(engine, name=name, role=Role[role.upper()], expires_at=until)


@app.command(name="list")
def list_keys(*, url: Url = None, json: AsJson = False) -> None:
    """List the keys: what they are for, not what they are.

    In a pipe: id, name, role, created, expires, used; between tabs.
    """
    found = asyncio.run(_list(url))
    if json:
        print_json([_readable(key) for key in found])
    elif not on_terminal():
        for key in found:
            line(key.id, key.name, key.role, *map(iso, (key.created_at, key.expires_at, key.used_at)))
    elif not found:
        print("no keys; make one: outlive keys create NAME")
    else:
        now = time.time()
        rows = (
            (
                key.id,
                key.name,
                key.role,
                from_now(key.created_at, now),
                "" if key.expires_at is None else from_now(key.expires_at, now),
                "never" if key.used_at is None else from_now(key.used_at, now),
            )
            for key in found
        )
        table(("id", "name", "role", "created", "expires", "last used"), rows)


async def _list(url: str | None) -> list[KeyRecord]:
    async with client(url) as engine:
        return await engine.store.api_keys()


@app.command
def revoke(id: str, /, *, url: Url = None) -> int:
    """Take a key back: from the next request on it is good for nothing.

    Parameters
    ----------
    id
        As `outlive keys list` tells it.
    """
    if not asyncio.run(_revoke(url, id)):
        raise exits.Complaint(f"there is no key {id}; see: outlive keys list", exits.FAILED)
    print(f"key {id} is revoked")
    return exits.DONE


async def _revoke(url: str | None, id: str) -> bool:
    async with client(url) as engine:
        return await engine.store.revoke_api_key(id)


@app.command
def secret() -> None:
    """Print a new secret for `create_webhook(secret=...)`, in the form of Standard Webhooks. It is kept nowhere."""
    print("whsec_" + base64.b64encode(secrets.token_bytes(32)).decode())


def _readable(key: KeyRecord) -> dict[str, object]:
    return {
        "id": key.id,
        "name": key.name,
        "role": key.role,
        "created_at": iso(key.created_at),
        "expires_at": None if key.expires_at is None else iso(key.expires_at),
        "used_at": None if key.used_at is None else iso(key.used_at),
    }
