"""Lists, pruning, and whether writes by others are noticed."""

from __future__ import annotations

from outlive.model import events as ev
from outlive.model.entries import Terminate
from outlive.model.ids import RunId
from outlive.model.records import RunStatus
from outlive.testing.conformance.ends import CONTINUED, next_link
from outlive.testing.conformance.world import World, WorldFixtures, completed, hook, step


def some_runs(world: World) -> None:
    for run, fields in (("b", {"tags": ("x",)}), ("a", {"workflow": "app:other"}), ("c", {"tags": ("x", "y")})):
        world.create(run, **fields)
        world.clock.advance(1)


class HouseConformance(WorldFixtures):
    def test_an_unknown_run_is_none(self, world: World) -> None:
        assert world.do(world.store.run(RunId("none"))) is None

    # --- lists ---

    def test_runs_are_listed_newest_first(self, world: World) -> None:
        some_runs(world)
        assert world.listed() == ["c", "a", "b"]

    def test_a_list_goes_on_where_its_last_page_ended(self, world: World) -> None:
        some_runs(world)
        assert world.listed(limit=2) == ["c", "a"]
        assert world.listed(limit=2, before=RunId("a")) == ["b"]

    def test_runs_of_the_same_moment_are_listed_once_each(self, world: World) -> None:
        for run in ("b", "a", "c"):
            world.create(run)
        first = world.listed(limit=2)
        assert [*first, *world.listed(before=RunId(first[-1]))] == ["c", "b", "a"]

    def test_runs_are_listed_by_status(self, world: World) -> None:
        some_runs(world)
        world.one(Terminate(run=RunId("a"), reason=""))
        assert world.listed(status=RunStatus.TERMINATED) == ["a"]
        assert world.listed(status=RunStatus.PENDING) == ["c", "b"]

    def test_runs_are_listed_by_workflow(self, world: World) -> None:
        some_runs(world)
        assert world.listed(workflow="app:other") == ["a"]

    def test_runs_are_listed_by_tag(self, world: World) -> None:
        some_runs(world)
        assert world.listed(tag="x") == ["c", "b"]
        assert world.listed(tag="x", before=RunId("c")) == ["b"]
        assert world.listed(tag="y", status=RunStatus.RUNNING) == []

    def test_runs_are_listed_by_family(self, world: World) -> None:
        world.create("p")
        world.create("q", root=RunId("p"))
        assert world.listed(root=RunId("q")) == []
        assert world.listed(root=RunId("p")) == ["q", "p"]

    # --- pruning ---

    def test_what_ended_before_is_pruned_with_its_logs(self, world: World) -> None:
        world.start("r1", "r2")
        world.append("r1", CONTINUED, **next_link())
        world.append("r1", completed())
        world.clock.advance(10)
        world.append("r2", step())
        assert world.do(world.store.prune(ended_before=world.clock.now(), limit=10)) == 1
        assert (world.listed(), world.log("r1", 1), world.log("r1", 2)) == (["r2"], [], [])

    def test_what_ended_later_stays(self, world: World) -> None:
        world.start("r1")
        world.append("r1", completed())
        assert world.do(world.store.prune(ended_before=world.clock.now(), limit=10)) == 0

    def test_pruning_keeps_to_its_limit(self, world: World) -> None:
        world.start("r1", "r2", "r3")
        for run in ("r1", "r2", "r3"):
            world.append(run, completed())
        later = world.clock.now() + 1
        assert [world.do(world.store.prune(ended_before=later, limit=2)) for _ in range(3)] == [2, 1, 0]

    def test_keys_are_kept_for_a_week(self, world: World) -> None:
        world.start("r1")
        world.append("r1", hook("t1"))
        world.send("t1", key="k")
        world.append("r1", take=True, release=True)
        world.clock.advance(6 * 86_400)
        world.do(world.store.prune(ended_before=world.clock.now(), limit=10))
        world.send("t1", key="k")
        world.clock.advance(2 * 86_400)
        world.do(world.store.prune(ended_before=world.clock.now(), limit=10))
        world.send("t1", key="k")
        record = world.do(world.store.hooks(RunId("r1")))[0]
        assert record.pending == 1

    def test_an_id_can_be_used_again_after_pruning(self, world: World) -> None:
        world.start("r1")
        world.append("r1", completed())
        world.do(world.store.prune(ended_before=world.clock.now() + 1, limit=10))
        world.start("r1")
        assert [ev.kind_of(event) for event in world.log("r1")] == ["run_created", "run_started"]
