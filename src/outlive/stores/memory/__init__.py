"""Everything that is kept, in this process: for tests and simulation."""

from outlive.stores.memory.store import MemoryStore

__all__ = ["MemoryStore"]
