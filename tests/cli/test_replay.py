"""``outlive replay``."""

from __future__ import annotations

import pytest

from .conftest import Project

pytestmark = pytest.mark.slow


@pytest.fixture
def bought(project: Project) -> Project:
    project.outlive("run", "shop:buy", '[{"id": "A1"}]', "--run-id", "one")
    return project


def test_code_that_has_not_changed_is_ok_and_no_step_runs(bought: Project) -> None:
    done = bought.outlive("replay", "one")

    assert done.code == 0
    assert done.out.startswith("OK")
    assert bought.effects() == ["charge"]


def test_a_run_that_is_open_is_told_with_what_it_waits_for_and_where(project: Project) -> None:
    project.interrupted("one")
    done = project.outlive("replay", "one")

    assert done.code == 0
    assert "waiting: hook at " in done.out
    line = 1 + (project.folder / "shop.py").read_text().splitlines().index(
        '    return await race(answer=answer, deadline=sleep("1 day"))'
    )
    assert f"shop.py:{line}" in done.out


def test_nothing_is_written(project: Project) -> None:
    project.interrupted("one")
    before = project.outlive("show", "one", "--json").json["events"]
    project.change("    answer = create", "    await charge(order)\n    answer = create")
    project.outlive("replay", "one")

    assert project.outlive("show", "one", "--json").json["events"] == before


def test_changed_code_diverges_with_both_sides_and_the_line(bought: Project) -> None:
    bought.change("    receipt = await charge(order)", "    receipt = await announce('x')")
    done = bought.outlive("replay", "one")

    assert done.code == 3
    assert "recorded:  step_completed 'shop:charge' as command 1" in done.out
    assert "attempted: the code issued step 'shop:announce'" in done.out
    assert "shop.py:" in done.out
    assert bought.effects() == ["charge"]


def test_the_line_is_known_also_when_gather_makes_the_task(bought: Project) -> None:
    bought.change(
        "    receipt = await charge(order)", "    receipt, _ = await asyncio.gather(announce('x'), charge(order))"
    )
    done = bought.outlive("replay", "one", "--json")

    line = next(
        n for n, text in enumerate((bought.folder / "shop.py").read_text().splitlines(), 1) if "gather(" in text
    )
    assert done.code == 3
    assert f"shop.py:{line} " in done.json["divergence"]["where"]


def test_each_link_of_a_chain_is_shown_and_replayed(project: Project) -> None:
    project.outlive("run", "shop:count_down", "1", "--run-id", "chain")
    shown = [project.outlive("show", "chain", "--json", *link).json["timeline"][-1] for link in (("--link", "1"), ())]
    replayed = [project.outlive("replay", "chain", "--link", link).code for link in ("1", "2", "3")]

    assert [entry["status"] for entry in shown] == ["continued", "completed"]
    assert replayed == [0, 0, 2]


def test_a_changed_result_diverges(bought: Project) -> None:
    bought.change('"receipt": receipt', '"receipt": receipt + "!"')
    done = bought.outlive("replay", "one", "--json")

    assert done.code == 3
    assert "receipt A1!" in done.json["divergence"]["attempted"]


def test_what_a_body_reads_of_the_world_is_refused_with_its_line(bought: Project) -> None:
    bought.change("    receipt = await", "    import time; time.time()\n    receipt = await")
    done = bought.outlive("replay", "one")

    assert done.code == 3
    assert "NonDeterminismError: time.time()" in done.out


def test_the_module_is_named_when_the_name_does_not_tell_it(bought: Project) -> None:
    bought.change("@workflow\nasync def double", "@workflow(name='twice')\nasync def double")
    bought.outlive("run", "shop:double", "1", "--run-id", "two")
    unknown, known = bought.outlive("replay", "two"), bought.outlive("replay", "two", "shop.py")

    assert unknown.code == 2 and "name the module" in unknown.err
    assert known.code == 0


def test_the_debugger_stops_where_the_body_begins(bought: Project) -> None:
    done = bought.outlive("replay", "one", "--pdb", stdin="p order\nn\np receipt\nc\n")

    assert done.code == 0
    assert "-> receipt = await charge(order)" in done.out
    assert "Order(id='A1', count=1)" in done.out
    assert "'receipt A1'" in done.out


def test_the_debugger_stops_at_the_divergence(bought: Project) -> None:
    bought.change("    receipt = await charge(order)", "    wrong = 'x'\n    receipt = await announce(wrong)")
    done = bought.outlive("replay", "one", "--pdb", stdin="c\np wrong\nc\n")

    assert done.code == 3
    assert "which diverges" in done.out
    assert "'x'" in done.out


def test_quitting_the_debugger_keeps_the_verdict(bought: Project) -> None:
    done = bought.outlive("replay", "one", "--pdb", stdin="q\n")

    assert done.code == 0
    assert "OK" in done.out
