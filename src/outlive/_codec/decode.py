"""From a tree of plain JSON types back to Python values.

Only what the registry knows is built, and no constructor of a user's record class runs.
"""

from __future__ import annotations

import base64
import binascii
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import EnumMeta, Flag
from fractions import Fraction
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Final, Protocol, cast
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from outlive._codec.encode import Shapes
from outlive._codec.nodes import Node
from outlive._codec.records import Mismatch, Parts, Shape, shape_of
from outlive._codec.types import TypeRegistry

_NESTED: Final = frozenset({dict, list})
_CONSTANTS: Final[dict[str, object]] = {"Ellipsis": ..., "NotImplemented": NotImplemented, "UNSET": msgspec.UNSET}
_PATHS: Final[dict[str, type[PurePath]]] = {
    "Path": Path,
    "PurePath": PurePath,
    "PurePosixPath": PurePosixPath,
    "PureWindowsPath": PureWindowsPath,
}
_FLOATS: Final[dict[str, float]] = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}


class Unreadable(Exception):
    """A stored tree can't be rebuilt; says what to do."""


class ExceptionBuilder(Protocol):
    """How a recorded exception is rebuilt."""

    def __call__(self, builder: Builder, node: dict[str, Node], depth: int) -> BaseException: ...


class Builder:
    """Rebuilds values from trees; holds nothing of any one of them."""

    __slots__ = ("_max_depth", "_rebuild", "_shapes", "types")

    def __init__(self, *, types: TypeRegistry, shapes: Shapes, rebuild: ExceptionBuilder, max_depth: int) -> None:
        self.types = types
        self._shapes = shapes
        self._rebuild = rebuild
        self._max_depth = max_depth

    def build(self, node: Node, depth: int) -> object:
        """The value that ``node`` stands for.

        Raises:
            Unreadable: It names what is not known here, or is damaged.
        """
        kind = type(node)
        if kind not in _NESTED:
            return node
        if depth > self._max_depth:
            raise Unreadable(f"is nested deeper than {self._max_depth} levels; raise max_depth")
        if kind is list:
            items = cast("list[Node]", node)
            return [self.build(item, depth + 1) if type(item) in _NESTED else item for item in items]
        mapping = cast("dict[str, Node]", node)
        tag = mapping.get("$t")
        if tag is None:
            if any(key[:1] == "$" for key in mapping):
                raise Unreadable(
                    f"has the unknown mark {next(key for key in mapping if key[:1] == '$')!r}; upgrade Outlive"
                )
            return {
                key: self.build(value, depth + 1) if type(value) in _NESTED else value for key, value in mapping.items()
            }
        if tag == "exception":
            return self._rebuild(self, mapping, depth)
        builder = _BUILDERS.get(tag) if isinstance(tag, str) else None
        if builder is None:
            raise Unreadable(f"has the unknown tag {tag!r}; it was written by a newer Outlive: upgrade")
        return builder(self, mapping, depth)

    def items(self, node: Node, depth: int) -> list[object]:
        """The values of a list that belongs to a container at ``depth``."""
        if not isinstance(node, list):
            raise Unreadable("is damaged: a list is missing")
        return [self.build(item, depth + 1) for item in cast("list[Node]", node)]

    def pairs(self, node: Node, depth: int) -> list[tuple[object, object]]:
        if not isinstance(node, list):
            raise Unreadable("is damaged: a list of pairs is missing")
        return [
            (self.build(key, depth + 1), self.build(value, depth + 1)) for key, value in cast("list[list[Node]]", node)
        ]

    def attributes(self, node: Node, depth: int) -> dict[str, object]:
        if node is None:
            return {}
        if not isinstance(node, dict):
            raise Unreadable("is damaged: an object is missing")
        return {name: self.build(value, depth + 1) for name, value in cast("dict[str, Node]", node).items()}

    def known_class(self, node: Node) -> type[object]:
        """The class that ``Walker.class_node`` wrote."""
        if isinstance(node, str):
            cls = self.types.lookup(node)
            if cls is None:
                raise Unreadable(
                    f"names the type {node!r}, which this process does not know; import it in the module that defines"
                    " the step or workflow, or register it under that name"
                )
            return cls
        if not isinstance(node, dict):
            raise Unreadable("is damaged: the name of a type is missing")
        generic = cast("dict[str, Node]", node)
        origin = self.known_class(generic.get("o"))
        arguments = tuple(self.known_class(argument) for argument in cast("list[Node]", generic["a"]))
        if not hasattr(origin, "__pydantic_generic_metadata__"):
            raise Unreadable(f"gives arguments to {origin.__qualname__}, which is no generic pydantic model")
        made = cast("_Generic", cast("object", origin))[arguments]
        return cast("type[object]", made)

    def may_be_factory(self, cls: type[object]) -> bool:
        """As ``Walker.may_be_factory``."""
        return self.types.always_known(cls) or self.shape(cls) is not None

    def shape(self, cls: type[object]) -> Shape | None:
        try:
            return self._shapes[cls]
        except KeyError:
            return self._shapes.setdefault(cls, shape_of(cls))


class _Generic(Protocol):
    def __getitem__(self, arguments: tuple[type[object], ...], /) -> object: ...


def plainly(error: BaseException) -> str:
    """What a damaged tree made a builder raise, as one line."""
    return f"is damaged ({type(error).__name__}: {error})"


def _text(node: dict[str, Node], key: str = "v") -> str:
    value = node[key]
    if not isinstance(value, str):
        raise Unreadable(f"is damaged: {key!r} is no text")
    return value


def _whole(node: Node) -> int:
    if type(node) is not int:
        raise Unreadable("is damaged: a number is missing")
    return node


def _bytes(node: dict[str, Node]) -> bytes:
    try:
        return base64.b64decode(_text(node), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Unreadable(plainly(error)) from None


def _duration(node: Node) -> timedelta:
    days, seconds, microseconds = cast("list[Node]", node)
    return timedelta(_whole(days), _whole(seconds), _whole(microseconds))


def _zone(key: str) -> ZoneInfo:
    try:
        return ZoneInfo(key)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise Unreadable(
            f"needs the time zone {key!r}, which is not on this machine; install tzdata ({error})"
        ) from None


def _zone_of(builder: Builder, node: dict[str, Node]) -> tzinfo | None:
    zone = builder.build(node.get("z"), 0)
    if zone is not None and not isinstance(zone, tzinfo):
        raise Unreadable("is damaged: the zone is none")
    return zone


def _datetime(builder: Builder, node: dict[str, Node], _depth: int) -> datetime:
    made = datetime.fromisoformat(_text(node))
    zone = _zone_of(builder, node)
    return (
        made
        if zone is None and "f" not in node
        else made.replace(tzinfo=zone or made.tzinfo, fold=_whole(node.get("f", 0)))
    )


def _time(builder: Builder, node: dict[str, Node], _depth: int) -> time:
    made = time.fromisoformat(_text(node))
    zone = _zone_of(builder, node)
    return (
        made
        if zone is None and "f" not in node
        else made.replace(tzinfo=zone or made.tzinfo, fold=_whole(node.get("f", 0)))
    )


def _timezone(_builder: Builder, node: dict[str, Node], _depth: int) -> timezone:
    return timezone(_duration(node["v"]), _text(node, "n")) if "n" in node else timezone(_duration(node["v"]))


def _member(builder: Builder, node: dict[str, Node], _depth: int) -> object:
    cls: object = builder.known_class(node["c"])
    name = _text(node)
    if not isinstance(cls, EnumMeta):
        raise Unreadable(f"is a member of {node['c']}, which is no Enum any more")
    members: Mapping[str, object] = cls.__members__
    if name not in members:
        raise Unreadable(f"is {cls.__qualname__}.{name}, which the class no longer has; put the member back")
    return members[name]


def _flag(builder: Builder, node: dict[str, Node], _depth: int) -> Flag:
    cls = builder.known_class(node["c"])
    if not issubclass(cls, Flag):
        raise Unreadable(f"is a member of {cls.__qualname__}, which is no Flag any more")
    try:
        return cls(builder.build(node["v"], 0))
    except ValueError as error:
        raise Unreadable(f"is a combination that {cls.__qualname__} no longer has ({error})") from None


def _namedtuple(builder: Builder, node: dict[str, Node], depth: int) -> object:
    cls = builder.known_class(node["c"])
    names = cast("tuple[str, ...] | None", getattr(cls, "_fields", None))
    if names is None or tuple not in cls.__mro__:
        raise Unreadable(f"is a {cls.__qualname__}, which is no named tuple any more")
    defaults = cast("dict[str, object]", getattr(cls, "_field_defaults", {}))
    stored = builder.attributes(node["v"], depth)
    if not stored.keys() <= set(names):
        raise Unreadable(
            f"is a {cls.__qualname__}, which no longer has the field {', '.join(sorted(stored.keys() - set(names)))}"
        )
    values = defaults | stored
    if missing := [name for name in names if name not in values]:
        raise Unreadable(f"is a {cls.__qualname__}, which gained the field {missing[0]!r}; give it a default")
    kind = cast("type[tuple[object, ...]]", cls)
    return _new_tuple(kind, [values[name] for name in names])


_new_tuple = cast("Callable[[type[tuple[object, ...]], list[object]], object]", tuple.__new__)  # pyright: ignore[reportUnknownMemberType] - typeshed leaves the element open


def _record(builder: Builder, node: dict[str, Node], depth: int) -> object:
    cls = builder.known_class(node["c"])
    shape = builder.shape(cls)
    if shape is None or shape.tag != node["$t"]:
        raise Unreadable(
            f"was stored as a {node['$t']} {cls.__qualname__}, and the class of that name is something else now"
        )
    parts = Parts(*(builder.attributes(node.get(part), depth) for part in ("v", "x", "b")))
    try:
        return shape.build(parts)
    except Mismatch as mismatch:
        raise Unreadable(f"does not fit its class: {mismatch}") from None
    except Exception as error:  # a default factory or a Struct's __post_init__, both the user's
        raise Unreadable(f"could not be rebuilt: {cls.__qualname__} raised {type(error).__name__}: {error}") from error


def _adapted(builder: Builder, node: dict[str, Node], depth: int) -> object:
    name = _text(node, "c")
    adapter = builder.types.adapter_named(name)
    if adapter is None:
        raise Unreadable(
            f"needs the registered type {name!r}; register it with encode= and decode= before the engine starts"
        )
    carried = builder.build(node["v"], depth + 1)
    try:
        return adapter.decode(carried)
    except Exception as error:
        raise Unreadable(
            f"could not be rebuilt: the decode= of {name} raised {type(error).__name__}: {error}"
        ) from error


def _defaultdict(builder: Builder, node: dict[str, Node], depth: int) -> object:
    factory = builder.build(node["d"], depth)
    if factory is not None and not (
        isinstance(factory, type) and builder.may_be_factory(cast("type[object]", factory))
    ):
        raise Unreadable("names a default_factory that is no builtin type and no record class")
    return defaultdict(cast("type[object] | None", factory), builder.pairs(node["v"], depth))


def _constant(_builder: Builder, node: dict[str, Node], _depth: int) -> object:
    return _CONSTANTS[_text(node)]


def _complex(builder: Builder, node: dict[str, Node], depth: int) -> complex:
    real, imaginary = cast("tuple[float, float]", builder.items(node["v"], depth))
    return complex(real, imaginary)


def _range(builder: Builder, node: dict[str, Node], depth: int) -> range:
    start, stop, step = cast("list[int]", builder.items(node["v"], depth))
    return range(start, stop, step)


def _slice(builder: Builder, node: dict[str, Node], depth: int) -> object:
    start, stop, step = builder.items(node["v"], depth)
    return slice(start, stop, step)


def _counter(builder: Builder, node: dict[str, Node], depth: int) -> object:
    made: Counter[object] = Counter()
    for key, count in builder.pairs(node["v"], depth):
        made[key] = cast("int", count)
    return made


_Build = Callable[[Builder, dict[str, Node], int], object]
_BUILDERS: Final[dict[str, _Build]] = {
    "int": lambda _builder, node, _depth: int(_text(node), 16),
    "float": lambda _builder, node, _depth: _FLOATS[_text(node)],
    "str": lambda _builder, node, _depth: _bytes(node).decode("utf-8", "surrogatepass"),
    "bytes": lambda _builder, node, _depth: _bytes(node),
    "bytearray": lambda _builder, node, _depth: bytearray(_bytes(node)),
    "tuple": lambda builder, node, depth: tuple(builder.items(node["v"], depth)),
    "set": lambda builder, node, depth: set(builder.items(node["v"], depth)),
    "frozenset": lambda builder, node, depth: frozenset(builder.items(node["v"], depth)),
    "deque": lambda builder, node, depth: deque(builder.items(node["v"], depth), cast("int | None", node.get("n"))),
    "dict": lambda builder, node, depth: dict(builder.pairs(node["v"], depth)),
    "ordereddict": lambda builder, node, depth: OrderedDict(builder.pairs(node["v"], depth)),
    "counter": _counter,
    "defaultdict": _defaultdict,
    "complex": _complex,
    "range": _range,
    "slice": _slice,
    "constant": _constant,
    "decimal": lambda _builder, node, _depth: Decimal(_text(node)),
    "fraction": lambda builder, node, depth: Fraction(*cast("list[int]", builder.items(node["v"], depth))),
    "uuid": lambda _builder, node, _depth: UUID(_text(node)),
    "path": lambda builder, node, _depth: _PATHS[_text(node, "k")](cast("str", builder.build(node["v"], 0))),
    "date": lambda _builder, node, _depth: date.fromisoformat(_text(node)),
    "datetime": _datetime,
    "time": _time,
    "timedelta": lambda _builder, node, _depth: _duration(node["v"]),
    "timezone": _timezone,
    "zoneinfo": lambda _builder, node, _depth: _zone(_text(node)),
    "enum": _member,
    "flag": _flag,
    "type": lambda builder, node, _depth: builder.known_class(node["c"]),
    "namedtuple": _namedtuple,
    "dataclass": _record,
    "attrs": _record,
    "struct": _record,
    "pydantic": _record,
    "ext": _adapted,
}
