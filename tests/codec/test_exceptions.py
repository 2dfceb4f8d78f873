"""Exceptions come back as their own type where a trial shows that they can, and as StepError otherwise."""

from __future__ import annotations

import asyncio
import json
import threading
import traceback

import msgspec
import pydantic
import pytest

from outlive import errors
from outlive._codec import Codec, TypeRegistry, digest
from outlive._codec.exceptions import TRACEBACK_NOTE
from tests.codec import models
from tests.codec.values import picture


def carried(codec: Codec, error: BaseException) -> BaseException:
    return codec.decode_exception(codec.encode_exception(error))


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def with_attribute(error: BaseException, **attributes: object) -> BaseException:
    vars(error).update(attributes)
    return error


OWN = {
    "plain": ValueError("bad", 1, (2,)),
    "no-args": RuntimeError(),
    "key-error": KeyError("k"),
    "os-error": OSError(2, "gone", "a.txt", None, "b.txt"),
    "os-error-subclass": PermissionError(13, "no"),
    "os-error-custom": models.FileGone("/x"),
    "unicode-decode": UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
    "unicode-encode": UnicodeEncodeError("ascii", "\ud800", 0, 1, "bad"),
    "import": ImportError("no", name="m", path="/p"),
    "syntax": SyntaxError("bad", ("f.py", 1, 2, "x =", 1, 3)),
    "stop": StopAsyncIteration(),
    "stop-value": StopIteration(5),
    "exit": SystemExit(3),
    "cancelled": asyncio.CancelledError("why"),
    "json": json.JSONDecodeError("bad", "doc", 1),
    "surrogate": ValueError("\ud800"),
    "custom-init": models.CardDeclined("c1", retry=True),
    "slots": models.Slotted("d"),
    "attributes": with_attribute(ValueError("x"), order=models.Item("a")),
    "dataclass": models.DataError(3),
    "attrs": models.AttrError(3),
    "group": ExceptionGroup("g", [ValueError(1), ExceptionGroup("h", [KeyError(2)])]),
    "base-group": BaseExceptionGroup("g", [KeyboardInterrupt()]),
    "group-subclass": models.MyGroup("g", [models.CardDeclined("x", retry=False)]),
    "timeout": errors.StepTimeout("slow"),
    "run-failed": errors.RunFailed("x", run_id="r1"),
    "retryable": errors.RetryableError("x", retry_after="30s"),
}


@pytest.fixture
def types(types: TypeRegistry) -> TypeRegistry:
    types.reach({"__name__": "steps", "json": json})
    return types


@pytest.mark.parametrize("error", OWN.values(), ids=OWN.keys())
def test_comes_back_as_its_own_type_with_all_it_held(codec: Codec, error: BaseException) -> None:
    assert picture(carried(codec, error)) == picture(error)


@pytest.mark.parametrize("name", ["errno", "strerror", "filename", "filename2"])
def test_members_of_an_os_error_come_back(codec: Codec, name: str) -> None:
    assert getattr(carried(codec, OWN["os-error"]), name) == getattr(OWN["os-error"], name)


def test_a_constructor_does_not_run_again(codec: Codec) -> None:
    made = carried(codec, models.CardDeclined("c1", retry=True))
    assert (str(made), made.code, made.retry) == ("declined: c1", "c1", True)


class Unreachable(Exception):
    pass


TEXT = {
    "unknown-type": Unreachable("x"),
    "local-type": type("Local", (Exception,), {})("x"),
    "argument": ValueError("x", threading.Lock()),
    "needs-what-was-lost": models.NeedsLost(),
    "bad-str": models.BadStr("x"),
    "argument-is-itself": with_attribute(ValueError("x")),
    "pydantic": None,
    "group-of-unknown-type": type("Group", (ExceptionGroup,), {})("g", [ValueError("x")]),
}
TEXT["argument-is-itself"].args = ("x", [TEXT["argument-is-itself"]])
try:
    models.Model.model_validate({})
except pydantic.ValidationError as invalid:
    TEXT["pydantic"] = invalid


@pytest.mark.parametrize(
    "error", [error for name, error in TEXT.items() if name != "bad-str"], ids=[n for n in TEXT if n != "bad-str"]
)
def test_becomes_a_step_error_that_names_type_and_text(codec: Codec, error: BaseException) -> None:
    made = carried(codec, error)
    assert isinstance(made, errors.StepError)
    assert (made.type_name, made.message) == (f"{type(error).__module__}:{type(error).__qualname__}", str(error))


def test_a_str_that_raises_is_no_obstacle(codec: Codec) -> None:
    assert "text of this BadStr could not be made" in str(carried(codec, models.BadStr("x", object())))


def test_an_exception_that_answers_nothing_still_gets_through(codec: Codec) -> None:
    assert carried(codec, models.Hostile("x")).type_name == "tests.codec.models:Hostile"


def test_a_set_with_a_lone_surrogate_among_the_arguments_comes_back(codec: Codec) -> None:
    assert carried(codec, ValueError({"\ud800"})).args == ({"\ud800"},)


def test_a_member_that_cannot_be_rebuilt_is_a_step_error_in_its_group(codec: Codec) -> None:
    made = carried(codec, ExceptionGroup("g", [ValueError("x"), Unreachable("y")]))
    assert [type(member) for member in made.exceptions] == [ValueError, errors.StepError]


def test_an_attribute_that_cannot_be_carried_is_left_out(codec: Codec) -> None:
    made = carried(codec, with_attribute(ValueError("x"), response=threading.Lock(), status=402))
    assert (type(made), vars(made)) == (ValueError, {"status": 402})


def test_an_attribute_error_leaves_its_object_behind(codec: Codec) -> None:
    made = carried(codec, AttributeError("no x", name="x", obj=[1]))
    assert (made.name, made.obj) == ("x", None)


def test_a_step_error_stays_one(codec: Codec) -> None:
    error = errors.StepError("m", type_name="a:B", traceback_text="tb")
    made = carried(codec, carried(codec, error))
    assert (type(made), made.message, made.type_name, made.traceback_text) == (errors.StepError, "m", "a:B", "tb")


def test_notes_come_back(codec: Codec) -> None:
    error = ValueError("x")
    error.add_note("while charging")
    assert carried(codec, error).__notes__ == ["while charging"]


def test_cause_and_context_come_back(codec: Codec) -> None:
    error = ValueError("x")
    error.__cause__ = error.__context__ = KeyError("c")
    made = carried(codec, error)
    assert isinstance(made.__cause__, KeyError)
    assert made.__context__ is made.__cause__
    assert made.__suppress_context__ is True


def test_a_context_without_a_cause_comes_back_unsuppressed(codec: Codec) -> None:
    error = ValueError("x")
    error.__context__ = Unreachable("c")
    made = carried(codec, error)
    assert (type(made.__context__), made.__cause__, made.__suppress_context__) == (errors.StepError, None, False)


def test_a_circular_context_ends(codec: Codec) -> None:
    one, two = ValueError("1"), ValueError("2")
    one.__context__, two.__context__ = two, one
    assert carried(codec, one).__context__.__context__ is None


def test_a_chain_deeper_than_the_limit_is_cut(codec: Codec) -> None:
    error = ValueError(0)
    for number in range(1, 3000):
        following = ValueError(number)
        following.__cause__ = following.__context__ = error
        error = following
    assert carried(codec, error).args == (2999,)


def test_the_traceback_is_a_note_exactly_once_after_any_number_of_trips(codec: Codec) -> None:
    made = carried(codec, raised(carried(codec, raised(ValueError("x")))))
    assert len([note for note in made.__notes__ if note.startswith(TRACEBACK_NOTE)]) == 1
    assert "in raised" in "".join(traceback.format_exception(made))


def test_the_text_form_has_the_traceback_too(codec: Codec) -> None:
    assert "in raised" in carried(codec, raised(Unreachable("x"))).traceback_text


@pytest.mark.parametrize("kind", [ValueError, Unreachable])
def test_a_digest_ignores_tracebacks(codec: Codec, kind: type[Exception]) -> None:
    here, there = codec.encode_exception(raised(kind("x"))), codec.encode_exception(kind("x"))
    assert digest(here) == digest(there)
    assert digest(codec.encode_exception(carried(codec, raised(kind("x"))))) == digest(there)


@pytest.mark.parametrize("kind", [ValueError, Unreachable])
def test_a_lone_surrogate_in_text_note_and_traceback_comes_back(codec: Codec, kind: type[Exception]) -> None:
    code = compile("raise error", "\udcff.py", "exec")
    error = kind("\ud800")
    error.add_note("\ud801")
    with pytest.raises(kind):
        exec(code, {"error": error})
    made = carried(codec, error)
    assert ("\ud800" in str(made), made.__notes__[0], "\udcff.py" in made.__notes__[1]) == (True, "\ud801", True)


def test_a_recursion_error_is_recorded_briefly(codec: Codec) -> None:
    def forever() -> None:
        forever()

    with pytest.raises(RecursionError) as caught:
        forever()
    assert len(codec.encode_exception(caught.value)) < 30_000


def test_an_exception_too_large_keeps_type_and_text() -> None:
    codec = Codec(max_bytes=1000)
    made = carried(codec, ValueError("x" * 5000))
    assert (type(made), made.type_name) == (errors.StepError, "builtins:ValueError")


def test_the_form_is_decided_when_recorded_not_when_read(types: TypeRegistry) -> None:
    data = Codec().encode_exception(models.CardDeclined("c", retry=True))
    assert type(Codec(types).decode_exception(data)) is errors.StepError


def test_a_recorded_own_type_that_is_missing_is_an_error_that_says_so(codec: Codec) -> None:
    data = codec.encode_exception(models.CardDeclined("c", retry=True))
    with pytest.raises(errors.SerializationError, match=r"'tests.codec.models:CardDeclined'.* import it in the module"):
        Codec().decode_exception(data)


def test_a_registered_exception_travels_its_own_way(types: TypeRegistry, codec: Codec) -> None:
    types.register(models.NewNeedsMore, encode=lambda error: error.args[0], decode=models.NewNeedsMore)
    error = models.NewNeedsMore(7)
    error.add_note("n")
    made = carried(codec, error)
    assert (type(made), made.args, made.__notes__) == (models.NewNeedsMore, (7,), ["n"])


def test_exceptions_are_values_too(codec: Codec) -> None:
    results = codec.transport([1, ValueError("x"), Unreachable("y")])
    assert [type(result) for result in results] == [int, ValueError, errors.StepError]


def test_what_is_no_exception_is_not_decoded_as_one(codec: Codec) -> None:
    with pytest.raises(errors.SerializationError, match=r"is no exception"):
        codec.decode_exception(codec.encode([1]))


def test_every_exception_of_outlive_comes_back(codec: Codec) -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, BaseException)]
    assert [type(carried(codec, kind("m"))) for kind in kinds] == kinds


def test_the_encoding_is_readable(codec: Codec) -> None:
    node = msgspec.json.decode(codec.encode_exception(ValueError("bad")))
    assert node == {"$t": "exception", "own": True, "m": "bad", "c": "builtins:ValueError", "a": ["bad"]}
