"""``outlive db``: the schema of a store, before and after an upgrade."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec
from cyclopts import App

from outlive._runtime.location import find_url
from outlive.cli import exits
from outlive.cli.opening import schema_state
from outlive.cli.options import AsJson, Url
from outlive.cli.output import print_json
from outlive.stores.opening import need_postgres_driver
from outlive.stores.urls import is_postgres, shown

if TYPE_CHECKING:
    from outlive.stores.postgres.migrating import SchemaState

app: Final = App(name="db", help="The schema of a store on PostgreSQL.", result_action="return_value")


@app.command
def status(*, url: Url = None, json: AsJson = False) -> int:
    """Tell which version the schema has, and which one this Outlive makes of it; nothing is changed.

    Exit code 1 if this Outlive can't work on it as it is.
    """
    store = _postgres(url)
    state = asyncio.run(schema_state(store))
    _print(store, state, as_json=json)
    return exits.DONE if state.fits else exits.FAILED


@app.command
def migrate(*, url: Url = None, json: AsJson = False) -> None:
    """Bring the schema to the version of this Outlive; what works on it goes on meanwhile.

    Workers do this too when they start. Here it can be done by a user who may create tables, before those come that may not.
    """
    store = _postgres(url)
    need_postgres_driver()
    from outlive.stores.postgres.migrating import migrate_url

    _print(store, asyncio.run(migrate_url(store)), as_json=json)


def _postgres(url: str | None) -> str:
    store = url or find_url()
    if store is None:
        raise exits.Complaint("which store? Name a PostgreSQL with --url, or set $OUTLIVE_URL")
    if not is_postgres(store):
        raise exits.Complaint(
            f"{shown(store)} has no schema to look after: a file is brought up to date when it is opened. Name a PostgreSQL with --url"
        )
    return store


def _print(store: str, state: SchemaState, *, as_json: bool) -> None:
    if as_json:
        print_json({"url": shown(store), **msgspec.to_builtins(state), "fits": state.fits})
        return
    print(f"store   {shown(store)}")
    print(f"server  PostgreSQL {state.server}{', through a pooler' if state.pooled else ''}")
    if state.version == 0:
        print(f"schema  {state.schema}: not there yet; make it with `outlive db migrate`")
    elif state.version < state.known:
        print(f"schema  {state.schema}: version {state.version} of {state.known}; upgrade it with `outlive db migrate`")
    elif state.fits:
        newer = " (newer than this Outlive, which can work on it)" if state.version > state.known else ""
        print(f"schema  {state.schema}: version {state.version}{newer}")
    else:
        print(f"schema  {state.schema}: version {state.version}, too new for this Outlive; upgrade it")
