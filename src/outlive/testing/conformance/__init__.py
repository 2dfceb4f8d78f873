"""The conformance suite of stores: a store passes it or is not a store.

class TestMyStore(StoreConformance):
    @pytest.fixture
    def store_factory(self, tmp_path):
        return lambda clock: MyStore(tmp_path / "db", clock=clock)
"""

from __future__ import annotations

from outlive.testing.conformance.claims import ClaimConformance
from outlive.testing.conformance.commits import CommitConformance
from outlive.testing.conformance.ends import EndConformance
from outlive.testing.conformance.front import FrontConformance
from outlive.testing.conformance.house import HouseConformance
from outlive.testing.conformance.messages import MessageConformance
from outlive.testing.conformance.queues import QueueConformance
from outlive.testing.conformance.world import StoreFactory, VirtualClock, World

__all__ = ["StoreConformance", "StoreFactory", "VirtualClock", "World"]


class StoreConformance(
    CommitConformance,
    MessageConformance,
    EndConformance,
    ClaimConformance,
    QueueConformance,
    HouseConformance,
    FrontConformance,
):
    """Inherit, give the fixture ``store_factory``, and run it with pytest."""
