"""For all tests: what hypothesis may take, what is slow, and a default store that is not this repository's."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import hypothesis
import pytest

from tests.servers.pgbouncer import NoPgbouncer, pgbouncer
from tests.servers.postgres import postgres
from tests.servers.schemas import drop_schema

HERE: Final = Path(__file__).parent
SLOW: Final = (
    # they start processes
    "cli",
    "crash",
    "examples",
    "house/test_docs.py",
    "house/test_readme.py",
    # they start a server for each of hundreds of requests
    "http/test_access.py",
    "http/test_raw_sockets.py",
    "processes",
    # they try hundreds of histories
    "core/test_programs.py",
    "stores/test_stores_agree.py",
)

pytest.register_assert_rewrite("outlive.testing.conformance")  # so that a store which fails is told by what

# CI tries the same examples each time: what is found by chance is found by people, with time to mend it
hypothesis.settings.register_profile("outlive", deadline=None, print_blob=True, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("outlive")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if config.getoption("evict") and "bounded_batch.py" in item.name:
            item.add_marker(pytest.mark.skip("a thousand steps replayed at every event are half a million events"))
        if item.path.relative_to(HERE).as_posix().startswith(SLOW):
            item.add_marker(pytest.mark.slow)
        if "postgres_server" in getattr(item, "fixturenames", ()) or "postgres" in item.nodeid.lower():
            item.add_marker(pytest.mark.server)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--evict", action="store_true", help="replay the log at every event, in all processes of the tests"
    )
    parser.addoption("--pooled", action="store_true", help="reach PostgreSQL through pgbouncer in transaction mode")


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # a shell began this in the background; the processes that tests interrupt would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.getoption("evict"):
        os.environ["OUTLIVE_REPLAY_ALWAYS"] = "1"  # also for processes that tests start, xdist's and their own


@pytest.fixture(scope="session")
def postgres_server(request: pytest.FixtureRequest) -> Iterator[str]:
    """The url of a PostgreSQL: the one that is given, else one that is started for these tests."""
    given = os.environ.get("OUTLIVE_TEST_POSTGRES_URL")
    if given is not None:
        yield given
        return
    with postgres() as server:
        if not request.config.getoption("pooled"):
            yield server.url
            return
        try:
            with pgbouncer(server.port) as url:
                yield url
        except NoPgbouncer as error:
            pytest.skip(str(error))


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The url of a schema that nobody else uses."""
    schema = f"test_{secrets.token_hex(6)}"
    yield f"{postgres_server}?schema={schema}"
    asyncio.run(drop_schema(postgres_server, schema))


@pytest.fixture(autouse=True)
def _no_store_of_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A test that names no store gets one in its own folder, also in processes that it starts."""
    monkeypatch.setenv("OUTLIVE_URL", f"sqlite:///{tmp_path / 'default.db'}")
