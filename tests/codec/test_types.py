"""Which classes are known, how they are named, and how classes may change under stored data."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, make_dataclass
from typing import Generic, NamedTuple, TypeVar

import attrs
import msgspec
import pydantic
import pytest

from outlive import errors
from outlive._codec import Codec, TypeRegistry
from tests.codec import models

T = TypeVar("T")


@dataclass
class Line(Generic[T]):
    item: models.Item
    other: T
    next: Line[T] | None = None


def test_a_class_is_reached_through_the_globals_that_define_it() -> None:
    types = TypeRegistry()
    types.reach(vars(models))
    assert types.lookup("tests.codec.models:Outer.Inner") is models.Outer.Inner


def test_a_class_is_reached_under_an_alias() -> None:
    types = TypeRegistry()
    types.reach({"__name__": "steps", "Thing": models.Item})
    assert types.lookup("tests.codec.models:Item") is models.Item


@pytest.mark.parametrize("module", [models, sys.modules["tests.codec"], sys.modules["tests"]])
def test_a_class_is_reached_through_a_module_or_its_package(module: object) -> None:
    types = TypeRegistry()
    types.reach({"__name__": "steps", "m": module})
    assert types.lookup("tests.codec.models:Item") is models.Item


def test_a_class_defined_after_the_module_was_made_known_is_found() -> None:
    types, namespace = TypeRegistry(), {"__name__": "steps"}
    types.reach(namespace)
    assert types.lookup("tests.codec.models:Item") is None
    namespace["Item"] = models.Item
    assert types.lookup("tests.codec.models:Item") is models.Item


class Proxy:
    """A lazy object of the kind that Django and werkzeug leave among the globals."""

    @property
    def __class__(self) -> type:
        raise AssertionError("was woken")


def test_a_lazy_proxy_is_not_woken_by_a_search_nor_carried(codec: Codec) -> None:
    codec.types.reach({"__name__": "steps", "proxy": Proxy()})
    assert codec.types.lookup("app:Missing") is None
    with pytest.raises(errors.SerializationError, match=r"cannot carry .*Proxy"):
        codec.encode(Proxy())


def test_classes_in_annotations_are_known() -> None:
    types = TypeRegistry()
    types.reach_types(
        [dict[str, list[Line[models.Point]]] | None, models.Page[models.Model], Callable[[models.Attr], int]]
    )
    known = [Line, models.Item, models.Point, models.Model, models.Attr]
    assert [types.lookup(f"{cls.__module__}:{cls.__qualname__}") for cls in known] == known


def test_a_registered_name_is_the_stored_one() -> None:
    types = TypeRegistry()
    types.register(models.Item, name="shop.item")
    assert b'"c":"shop.item"' in Codec(types).encode(models.Item("a"))


def test_an_old_name_stays_readable() -> None:
    types = TypeRegistry()
    types.register(models.Item, name="old:Name")
    data = Codec(types).encode(models.Item("a"))
    types.register(models.Item, name="new:Name")
    assert Codec(types).decode(data) == models.Item("a")
    assert b"new:Name" in Codec(types).encode(models.Item("a"))


def test_register_decorates() -> None:
    types = TypeRegistry()
    decorated = types.register(name="x")(models.Plain)
    assert decorated is models.Plain is types.lookup("x")


def test_two_classes_cannot_share_a_name() -> None:
    types = TypeRegistry()
    types.register(models.Item, name="x")
    with pytest.raises(errors.DuplicateName):
        types.register(models.Point, name="x")


def test_half_of_a_registration_is_refused() -> None:
    with pytest.raises(errors.ConfigurationError):
        TypeRegistry().register(models.Plain, encode=lambda _: 1)


def test_a_secret_is_marked() -> None:
    types = TypeRegistry()
    types.register(models.Money, name="m", encode=lambda money: money.cents, decode=models.Money, secret=True)
    assert json.loads(Codec(types).encode(models.Money(1))) == {"$t": "ext", "c": "m", "v": 1, "secret": True}


def test_a_subclass_of_a_registered_class_is_refused(types: TypeRegistry) -> None:
    with pytest.raises(errors.SerializationError):
        Codec(types).encode(type("Euro", (models.Money,), {})(1))


def test_a_subclass_of_a_builtin_travels_when_registered(types: TypeRegistry) -> None:
    types.register(models.MyInt, encode=int, decode=models.MyInt)
    assert type(Codec(types).transport(models.MyInt(3))) is models.MyInt


def redefined(cls: type, types: TypeRegistry) -> Codec:
    """A later process, in which the stored class looks like ``cls``."""
    types.register(cls, name="test:Evolving")
    return Codec(types)


def stored(cls: type, *args: object) -> bytes:
    types = TypeRegistry()
    types.register(cls, name="test:Evolving")
    return Codec(types).encode(cls(*args))


class TupleBefore(NamedTuple):
    a: int


class TupleAfter(NamedTuple):
    a: int
    b: int = 9


class StructBefore(msgspec.Struct):
    a: int


class StructAfter(msgspec.Struct):
    a: int
    b: int = 9


@attrs.define
class AttrsBefore:
    a: int


@attrs.define
class AttrsAfter:
    a: int
    b: int = attrs.Factory(lambda self: self.a + 8, takes_self=True)


class ModelBefore(pydantic.RootModel[int]):
    pass


class ModelA(pydantic.BaseModel):
    a: int

    def __init__(self, a: int) -> None:
        super().__init__(a=a)


class ModelAfter(pydantic.BaseModel):
    a: int
    b: int = pydantic.Field(default_factory=lambda: 9)


DataBefore = make_dataclass("DataBefore", [("a", int)])
DataAfter = make_dataclass("DataAfter", [("a", int), ("b", int, field(default_factory=lambda: 9))])
DataRequired = make_dataclass("DataRequired", ["a", "b"])
PAIRS = [
    (TupleBefore, TupleAfter),
    (StructBefore, StructAfter),
    (AttrsBefore, AttrsAfter),
    (ModelA, ModelAfter),
    (DataBefore, DataAfter),
]


@pytest.mark.parametrize(("before", "after"), PAIRS)
def test_a_gained_field_takes_its_default(before: type, after: type) -> None:
    made = redefined(after, TypeRegistry()).decode(stored(before, 1))
    assert (type(made), made.a, made.b) == (after, 1, 9)


@pytest.mark.parametrize(("before", "after"), PAIRS)
def test_a_lost_field_is_an_error_that_names_it(before: type, after: type) -> None:
    types = TypeRegistry()
    types.register(after, name="test:Evolving")
    data = Codec(types).encode(after(a=1, b=2))
    with pytest.raises(errors.SerializationError, match=r"no longer has the (stored )?field b"):
        redefined(before, TypeRegistry()).decode(data)


def test_a_gained_field_without_a_default_is_an_error_that_names_it() -> None:
    with pytest.raises(errors.SerializationError, match=r"gained the field 'b'.*give it a default"):
        redefined(DataRequired, TypeRegistry()).decode(stored(DataBefore, 1))


def test_a_class_that_became_something_else_is_an_error() -> None:
    with pytest.raises(errors.SerializationError, match=r"is something else now"):
        redefined(StructAfter, TypeRegistry()).decode(stored(DataBefore, 1))


def test_a_removed_enum_member_is_an_error(types: TypeRegistry) -> None:
    with pytest.raises(errors.SerializationError, match=r"Colour.BLUE, which the class no longer has"):
        Codec(types).decode(b'{"$t":"enum","c":"tests.codec.models:Colour","v":"BLUE"}')


def test_a_root_model_comes_back() -> None:
    types = TypeRegistry()
    types.reach(globals())
    assert Codec(types).transport(ModelBefore(3)) == ModelBefore(3)


def test_no_post_init_runs_when_decoding(codec: Codec) -> None:
    item = models.Item("a")
    assert codec.transport(item).total == item.total == 7


def test_what_a_cached_property_holds_is_computed_again(codec: Codec) -> None:
    value = models.Cached(2)
    assert value.double == 4
    made = codec.transport(value)
    assert "double" not in vars(made)
    assert made.double == 4


def test_a_rebuilt_pydantic_model_knows_which_fields_were_set(codec: Codec) -> None:
    model = models.Model(Name="ada")
    model._secret = 5
    made = codec.transport(model)
    assert (made.model_fields_set, made._secret, made.model_dump(exclude_unset=True)) == ({"name"}, 5, {"name": "ada"})


def test_a_class_defined_anew_in_a_notebook_takes_the_place_of_the_old() -> None:
    types, namespace = TypeRegistry(), {"__name__": "cell"}
    types.reach(namespace)
    codec = Codec(types)
    for _ in range(2):
        namespace["Cell"] = cell = make_dataclass("Cell", ["x"], namespace={"__module__": "cell"})
        assert type(codec.transport(cell(1))) is cell
