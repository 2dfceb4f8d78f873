"""Runs in PostgreSQL: many workers on many machines, one truth."""

from outlive.stores.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
