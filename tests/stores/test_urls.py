"""The urls of stores: what is shown of them, and what can't be one."""

from __future__ import annotations

import pytest

from outlive.errors import ConfigurationError
from outlive.stores.opening import SystemClock, open_store
from outlive.stores.postgres import PostgresStore
from outlive.stores.postgres.connections import parse
from outlive.stores.urls import shown


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://me:secret@host/db?schema=s", "postgresql://me:***@host/db?schema=s"),
        ("postgres://me@host:5432/db", "postgres://me@host:5432/db"),
        ("postgresql://me@[::1]:5432/db", "postgresql://me@[::1]:5432/db"),
        ("postgresql://host:5432/db", "postgresql://host:5432/db"),
        ("postgresql://host/db?password=secret&schema=s", "postgresql://host/db?password=***&schema=s"),
        ("postgresql://host/db?schema=s&p%61ssword=se%40cret", "postgresql://host/db?schema=s&p%61ssword=***"),
        ("postgresql://host/db?password=sec@ret", "postgresql://host/db?password=***"),
        ("postgresql://host/db?sslpassword=secret", "postgresql://host/db?sslpassword=***"),
        ("postgresql://me:s%40cr%3Aet@host/db", "postgresql://me:***@host/db"),
        (
            "postgresql://me:secret@h1:1,h2:2/db?target_session_attrs=read-write",
            "postgresql://me:***@h1:1,h2:2/db?target_session_attrs=read-write",
        ),
        # written as they should not be
        ("postgresql://me:sec@ret@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:sec/ret@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:sec#ret@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:sec?ret@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:sec[ret@host/db", "postgresql://me:***@host/db"),
        ("postgresql+asyncpg://me:secret@host/db", "postgresql+asyncpg://me:***@host/db"),
        ("me:secret@host/db", "me:***@host/db"),
        # no urls with passwords
        ("sqlite:///a.db", "sqlite:///a.db"),
        ("sqlite:////home/a:b@c/a.db", "sqlite:////home/a:b@c/a.db"),
        ("strict", "strict"),
    ],
)
def test_a_password_is_never_shown(url: str, told: str) -> None:
    assert shown(url) == told


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:secret@host:notaport/db",
        "postgresql://me:secret@host:65536/db",
        "postgresql://me:secret@h1:1,h2:two/db",
        "postgresql://me:secret@h1,/db",
        "postgresql://me:secret@[::1/db",
        "postgresql://me:sec@ret:secret@host/db",
        "postgresql://me:secret/ret@host/db",
        "postgresql://me:secret#ret@host/db",
        "postgresql://me:1#secret@host/db",
        "postgresql://me:secret?ret@host/db",
    ],
)
def test_a_url_that_names_no_server_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match="postgresql://user:password@host:5432/database") as caught:
        PostgresStore(url)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None and (caught.value.__suppress_context__ or caught.value.__context__ is None)


@pytest.mark.parametrize(
    "address",
    ["h", "h:1", "me@h:", "me:s%40@h1:1,h2", "me@[::1]:5432", "me:s@[::1],h:2", "me@%2Fvar%2Frun", "me@", "me@:5"],
)
def test_an_address_that_can_be_one_is_left_as_it_is(address: str) -> None:
    assert parse(f"postgresql://{address}/db?schema=s") == (f"postgresql://{address}/db", "s")


@pytest.mark.parametrize("url", ["me:secret@host/db", "postgresql+asyncpg://me:secret@host/db", "secret"])
def test_what_is_no_url_is_not_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError, match="no store for") as caught:
        open_store(url, SystemClock(), "power")
    assert "secret" not in str(caught.value)
