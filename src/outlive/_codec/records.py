"""Classes made of named fields (dataclasses, attrs, msgspec, pydantic), rebuilt without running their constructor.

A rebuilt instance holds exactly the stored values. Running ``__init__``, ``__post_init__`` or validators would instead
apply today's rules to yesterday's data: a value that was legal when recorded could fail on replay, and what they
computed would be computed twice. The one exception are msgspec Structs, which have no other way in: their
``__post_init__`` runs, and its effect on fields is overwritten.

Evolution: a field that the class gained since takes its default; one that it lost is an error, because dropping it
would lose data in silence.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, cast

import msgspec

_HEAP_TYPE: Final = 1 << 9
"""Py_TPFLAGS_HEAPTYPE: the class was made by a ``class`` statement, so its instances are fields and nothing else."""
_NOT_STATE: Final = frozenset({"__dict__", "__weakref__", "__orig_class__", "_attrs_cached_hash"})


class Mismatch(Exception):
    """Stored fields and the class of today do not fit."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field; ``default`` gives its value where none was stored, from the instance built so far."""

    name: str
    default: Callable[[object], object] | None
    may_be_unset: bool = False


@dataclass(slots=True)
class Parts:
    """An instance taken apart: its fields, other attributes of its own, and what pydantic keeps beside them."""

    fields: dict[str, object]
    others: dict[str, object]
    beside: dict[str, object]


class Shape(Protocol):
    """How one class is taken apart and rebuilt."""

    @property
    def tag(self) -> str: ...
    def take(self, value: object) -> Parts: ...
    def build(self, parts: Parts) -> object: ...


def shape_of(cls: type[object]) -> Shape | None:
    """The shape of ``cls``, or None if it is no record class."""
    if issubclass(cls, msgspec.Struct):
        return _StructShape(cls)
    # only looked at: a process that never imported it has no models
    pydantic = cast("object", sys.modules.get("pydantic.main"))
    base: object = getattr(pydantic, "BaseModel", None)
    if isinstance(base, type) and issubclass(cls, base):
        return _PydanticShape(cls)
    if not all(parent is object or parent.__flags__ & _HEAP_TYPE for parent in cls.__mro__):
        return None  # the data of a builtin base (a dataclass that is a dict) is not in the fields
    if dataclasses.is_dataclass(cls):
        return _PlainShape(cls, "dataclass", _dataclass_fields(cls))
    if hasattr(cls, "__attrs_attrs__"):
        return _PlainShape(cls, "attrs", _attrs_fields(cls))
    return None


class _PlainShape:
    """Dataclasses and attrs classes, with and without slots, frozen or not."""

    def __init__(self, cls: type[object], tag: str, fields: tuple[Field, ...]) -> None:
        self.cls = cls
        self.tag = tag
        self.fields = fields
        self.names = frozenset(field.name for field in fields)
        slots = {slot for parent in cls.__mro__ for slot in _slots_of(parent)}
        self.other_slots = sorted(slots - self.names - _NOT_STATE)
        self.caches_hash = "_attrs_cached_hash" in slots

    def take(self, value: object) -> Parts:
        fields: dict[str, object] = {}
        for field in self.fields:
            try:
                fields[field.name] = getattr(value, field.name)
            except AttributeError:
                if not field.may_be_unset:
                    raise Mismatch(f"the field {field.name!r} has no value") from None
        others = _attributes_beside(value, self.names)
        for slot in self.other_slots:
            if hasattr(value, slot):
                others[slot] = getattr(value, slot)
        return Parts(fields, others, {})

    def build(self, parts: Parts) -> object:
        _refuse_unknown(self.cls, parts.fields, self.names)
        made = object.__new__(self.cls)
        for name, value in parts.others.items():
            object.__setattr__(made, name, value)
        for field in self.fields:
            if field.name in parts.fields:
                object.__setattr__(made, field.name, parts.fields[field.name])
            elif field.default is not None:
                object.__setattr__(made, field.name, field.default(made))
            elif not field.may_be_unset:
                raise _missing(self.cls, field.name)
        if self.caches_hash:
            object.__setattr__(made, "_attrs_cached_hash", None)
        return made


class _StructShape:
    """msgspec Structs."""

    tag = "struct"

    def __init__(self, cls: type[msgspec.Struct]) -> None:
        self.cls = cls
        self.names = frozenset(cls.__struct_fields__)

    def take(self, value: object) -> Parts:
        return Parts(
            {name: getattr(value, name) for name in self.cls.__struct_fields__},
            _attributes_beside(value, self.names),
            {},
        )

    def build(self, parts: Parts) -> object:
        _refuse_unknown(self.cls, parts.fields, self.names)
        try:
            made = self.cls(**parts.fields)
        except TypeError as error:
            raise Mismatch(f"{self.cls.__qualname__}: {error}; give the new field a default") from None
        for name, value in (parts.fields | parts.others).items():
            msgspec.structs.force_setattr(made, name, value)
        return made


class _PydanticField(Protocol):
    def is_required(self) -> bool: ...
    def get_default(self, *, call_default_factory: bool, validated_data: dict[str, object]) -> object: ...


class _PydanticShape:
    """pydantic v2 models: fields, which of them were set, extra and private attributes."""

    tag = "pydantic"

    def __init__(self, cls: type[object]) -> None:
        self.cls = cls
        self.fields = cast("Mapping[str, _PydanticField]", vars(cls)["__pydantic_fields__"])
        self.names = frozenset(self.fields)

    def take(self, value: object) -> Parts:
        held = vars(value)
        fields = {name: cast("object", held[name]) for name in held if name in self.names}
        fields_set = cast("set[str]", getattr(value, "__pydantic_fields_set__", ()))
        beside: dict[str, object] = {"set": sorted(fields_set)}
        extra: object = getattr(value, "__pydantic_extra__", None)
        private = cast("dict[str, object] | None", getattr(value, "__pydantic_private__", None))
        if extra is not None:
            beside["extra"] = extra
        if private is not None:
            beside["private"] = {
                name: held for name, held in private.items() if type(held).__name__ != "PydanticUndefinedType"
            }
        return Parts(fields, _attributes_beside(value, self.names), beside)

    def build(self, parts: Parts) -> object:
        _refuse_unknown(self.cls, parts.fields, self.names)
        held = dict(parts.fields)
        for name, field in self.fields.items():
            if name not in held:
                if field.is_required():
                    raise _missing(self.cls, name)
                held[name] = field.get_default(call_default_factory=True, validated_data=held)
        made = self.cls.__new__(self.cls)
        object.__setattr__(made, "__dict__", held | parts.others)
        object.__setattr__(made, "__pydantic_fields_set__", set(cast("list[str]", parts.beside["set"])))
        object.__setattr__(made, "__pydantic_extra__", parts.beside.get("extra"))
        object.__setattr__(made, "__pydantic_private__", parts.beside.get("private"))
        return made


def _dataclass_fields(cls: type[object]) -> tuple[Field, ...]:
    made: list[Field] = []
    assert dataclasses.is_dataclass(cls), "the caller looked"
    for field in dataclasses.fields(cls):
        default: Callable[[object], object] | None = None
        if field.default is not dataclasses.MISSING:
            default = _always(cast("object", field.default))
        elif field.default_factory is not dataclasses.MISSING:
            default = _calling(cast("Callable[[], object]", field.default_factory))
        made.append(Field(field.name, default, may_be_unset=not field.init))
    return tuple(made)


class _AttrsField(Protocol):
    name: str
    default: object
    init: bool


class _AttrsFactory(Protocol):
    factory: object
    takes_self: bool


def _attrs_fields(cls: type[object]) -> tuple[Field, ...]:
    attr = sys.modules["attr"]
    nothing = cast("object", vars(attr)["NOTHING"])
    factory_type = cast("type[object]", vars(attr)["Factory"])
    made: list[Field] = []
    for field in cast("tuple[_AttrsField, ...]", getattr(cls, "__attrs_attrs__")):  # noqa: B009
        default: Callable[[object], object] | None = None
        if isinstance(field.default, factory_type):
            factory = cast("_AttrsFactory", field.default)
            default = (
                cast("Callable[[object], object]", factory.factory)
                if factory.takes_self
                else _calling(cast("Callable[[], object]", factory.factory))
            )
        elif field.default is not nothing:
            default = _always(field.default)
        made.append(Field(field.name, default, may_be_unset=not field.init))
    return tuple(made)


def _always(value: object) -> Callable[[object], object]:
    return lambda _: value


def _calling(factory: Callable[[], object]) -> Callable[[object], object]:
    return lambda _: factory()


def _slots_of(cls: type[object]) -> list[str]:
    declared = cast("object", vars(cls).get("__slots__", ()))
    names = [declared] if isinstance(declared, str) else list(cast("tuple[str, ...]", declared))
    return [
        f"_{cls.__name__.lstrip('_')}{name}" if name.startswith("__") and not name.endswith("__") else name
        for name in names
    ]


def _attributes_beside(value: object, names: frozenset[str]) -> dict[str, object]:
    """Attributes set on the instance beyond its fields; what a ``cached_property`` keeps is computed again."""
    held = cast("dict[str, object]", getattr(value, "__dict__", {}))
    if held.keys() <= names:
        return {}
    return {
        name: attribute
        for name, attribute in held.items()
        if name not in names
        and name not in _NOT_STATE
        and not isinstance(_class_attribute(type(value), name), functools.cached_property)
    }


def _class_attribute(cls: type[object], name: str) -> object:
    return next((cast("object", vars(parent)[name]) for parent in cls.__mro__ if name in vars(parent)), None)


def _refuse_unknown(cls: type[object], stored: Mapping[str, object], names: frozenset[str]) -> None:
    if not stored.keys() <= names:
        lost = ", ".join(sorted(stored.keys() - names))
        raise Mismatch(
            f"{cls.__qualname__} no longer has the stored field {lost}; keep it in the class, it may have a default"
        )


def _missing(cls: type[object], name: str) -> Mismatch:
    return Mismatch(f"{cls.__qualname__} gained the field {name!r} since this was stored; give it a default")
