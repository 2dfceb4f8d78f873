"""All stores pass the suite that any store must pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from outlive.stores.memory import MemoryStore
from outlive.stores.postgres import PostgresStore
from outlive.stores.sqlite import SQLiteStore
from outlive.testing.conformance import StoreConformance, StoreFactory


class TestMemoryStore(StoreConformance):
    @pytest.fixture
    def store_factory(self) -> StoreFactory:
        return lambda clock: MemoryStore(clock=clock)


class TestSQLiteStore(StoreConformance):
    @pytest.fixture
    def store_factory(self, tmp_path: Path) -> StoreFactory:
        return lambda clock: SQLiteStore(tmp_path / "runs.db", clock=clock, durability="process")


class TestPostgresStore(StoreConformance):
    @pytest.fixture
    def store_factory(self, postgres_url: str) -> StoreFactory:
        return lambda clock: PostgresStore(postgres_url, clock=clock)
