"""``outlive run``."""

from __future__ import annotations

import signal

import pytest

from .conftest import FOREVER, Project, read_until

pytestmark = pytest.mark.slow


def test_the_result_is_printed_as_json(project: Project) -> None:
    done = project.outlive("run", "shop:buy", '[{"id": "A1"}]')

    assert (done.code, done.json) == (0, {"receipt": "receipt A1", "pair": [1, None]})


@pytest.mark.parametrize(
    ("arguments", "result"), [("[3, 5]", 15.0), ('{"times": 4, "number": 2}', 8.0), ("-1.5", -3.0)]
)
def test_an_array_is_positional_an_object_named_and_all_else_one_argument(
    project: Project, arguments: str, result: float
) -> None:
    assert project.outlive("run", "shop:double", arguments).json == result


def test_a_run_id_gives_the_same_run_without_running_its_steps_again(project: Project) -> None:
    command = ("run", "shop:buy", '[{"id": "A1"}]', "--run-id", "one", "--json")
    first, second = project.outlive(*command), project.outlive(*command)

    assert first.json == second.json
    assert first.json["run_id"] == "one" and first.json["status"] == "completed"
    assert project.effects() == ["charge"]


def test_a_run_id_that_belongs_to_another_input_is_refused(project: Project) -> None:
    project.outlive("run", "shop:buy", '[{"id": "A1"}]', "--run-id", "one")
    done = project.outlive("run", "shop:buy", '[{"id": "B2"}]', "--run-id", "one")

    assert done.code == 2
    assert "another workflow or input" in done.err


def test_r37_a_file_is_run_under_the_name_that_it_has_as_a_script(project: Project) -> None:
    done = project.outlive("run", f"{project.folder}/shop.py:double", "1", "--json")

    assert done.json["workflow"] == "shop:double"


def test_a_failed_run_ends_with_1_and_tells_the_line(project: Project) -> None:
    done = project.outlive("run", "shop:fail")

    assert done.code == 1
    assert "ValueError: card declined" in done.err
    assert 'raise ValueError("card declined")' in done.err


def test_a_failed_run_is_told_as_json_too(project: Project) -> None:
    done = project.outlive("run", "shop:fail", "--json")

    assert done.code == 1
    assert done.json["status"] == "failed"
    assert done.json["error"]["type"] == "ValueError"


def test_after_a_kill_the_same_command_goes_on(project: Project) -> None:
    token = project.interrupted("one")
    project.outlive("resume", token, '{"yes": true}')
    done = project.outlive("run", "shop:ask", '[{"id": "A1"}]', "--run-id", "one")

    assert (done.code, done.json) == (0, ["answer", {"yes": True}])
    assert project.effects() == ["charge"]


def test_a_run_that_was_cancelled_ends_with_4(project: Project) -> None:
    project.interrupted("one")
    asked = project.outlive("cancel", "one")
    done = project.outlive("run", "shop:ask", '[{"id": "A1"}]', "--run-id", "one")

    assert (asked.code, done.code) == (0, 4)
    assert "was cancelled" in done.err


def test_a_run_that_was_terminated_ends_with_5_and_the_reason(project: Project) -> None:
    project.interrupted("one")
    project.outlive("terminate", "one", "--reason", "no more tea")
    done = project.outlive("run", "shop:ask", '[{"id": "A1"}]', "--run-id", "one", "--json")

    assert done.code == 5
    assert done.json["status"] == "terminated"


def test_r32_a_run_whose_code_has_changed_is_parked_with_a_report_until_it_is_put_back(project: Project) -> None:
    token = project.interrupted("one")
    project.change("    await charge(order)\n    answer", "    answer")
    parked = project.outlive("run", "shop:ask", '[{"id": "A1"}]', "--run-id", "one")
    project.change("    answer = create", "    await charge(order)\n    answer = create")
    project.outlive("resume", token, "1")
    back = project.outlive("run", "shop:ask", '[{"id": "A1"}]', "--run-id", "one")

    assert parked.code == 3
    assert "recorded:  step_completed 'shop:charge'" in parked.err
    assert "shop.py:" in parked.err
    assert (back.code, back.json) == (0, ["answer", 1])


def test_ctrl_c_ends_with_130_and_tells_how_to_go_on(project: Project) -> None:
    child = project.begin("run", "shop:ask", '[{"id": "A1"}]', "--run-id", "one")
    read_until(child, "announced", stream="stderr")
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=FOREVER)

    assert child.returncode == 130
    assert """outlive run shop:ask '[{"id": "A1"}]' --run-id one""" in said


def test_r22_sets_of_strings_have_one_order_in_all_processes_of_a_store(project: Project) -> None:
    results = {project.outlive("run", "shop:letters", PYTHONHASHSEED=seed).out for seed in ("1", "random")}

    assert len(results) == 1


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("nowhere:buy",), "no module 'nowhere'"),
        (("missing.py:buy",), "no file missing.py"),
        (("shop:sell",), "there is shop:buy"),
        (("shop",), "there is shop:buy"),
        (("shop:charge",), "not a workflow"),
        (("shop:buy", "{not json"), "not JSON"),
        (("shop:buy", "[1, 2]"), "too many positional arguments"),
        (("shop:buy", '[{"count": 1}]'), "missing required field `id`"),
        (("shop:buy", "--no-such-option"), "--no-such-option"),
        ((), "requires an argument"),
    ],
)
def test_wrong_usage_ends_with_2_and_one_line(project: Project, arguments: tuple[str, ...], problem: str) -> None:
    done = project.outlive("run", *arguments)

    assert done.code == 2
    assert problem in done.err and done.err.splitlines()[-1].startswith("outlive: ")
    assert "Traceback" not in done.err


def test_a_module_that_raises_is_told_with_the_frames_of_the_user_alone(project: Project) -> None:
    (project.folder / "broken.py").write_text("import json\njson.loads('{')\n")
    done = project.outlive("run", "broken:anything")

    assert done.code == 1
    assert "broken.py" in done.err and "JSONDecodeError" in done.err
    assert "importlib" not in done.err and "modules.py" not in done.err
