"""How each type of the standard library is written: one function a type."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PosixPath, PurePath, PurePosixPath, PureWindowsPath, WindowsPath
from types import EllipsisType, NoneType, NotImplementedType
from typing import TYPE_CHECKING, Final, Protocol, TypeVar, cast
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from outlive._codec.limits import LARGEST, SMALLEST
from outlive._codec.nodes import Node, as_base64
from outlive._codec.refusal import Refused

if TYPE_CHECKING:
    from outlive._codec.encode import Walker

T = TypeVar("T")
_FLAT: Final = frozenset({str, bool, NoneType})
_canonical: Final = msgspec.json.Encoder(order="sorted").encode

_Handler = Callable[["Walker", object, int], Node]
HANDLERS: Final[dict[type[object], _Handler]] = {}
"""By exact type: a subclass is another type, and never travels as its base."""


def _handles(*kinds: type[object]) -> Callable[[Callable[[Walker, T, int], Node]], Callable[[Walker, T, int], Node]]:
    def add(handler: Callable[[Walker, T, int], Node]) -> Callable[[Walker, T, int], Node]:
        for kind in kinds:
            HANDLERS[kind] = cast("_Handler", handler)
        return handler

    return add


@_handles(list)
def _list(walker: Walker, value: list[object], depth: int) -> Node:
    walker.enter(value, depth)
    if not walker.careful and _is_plain(value):
        return value
    return walker.items(value, value, depth + 1)


def _is_plain(value: list[object]) -> bool:
    """Whether all elements are of one kind that JSON carries as it is."""
    kinds = set(map(type, value))
    if kinds <= _FLAT:
        return True
    if kinds == {int}:
        numbers = cast("list[int]", value)
        return min(numbers) >= SMALLEST and max(numbers) <= LARGEST
    return kinds == {float} and all(map(math.isfinite, cast("list[float]", value)))


@_handles(tuple)
def _tuple(walker: Walker, value: tuple[object, ...], depth: int) -> Node:
    walker.enter(value, depth)
    return {"$t": "tuple", "v": walker.items(value, value, depth + 1)}


@_handles(dict)
def _dict(walker: Walker, value: dict[object, object], depth: int) -> Node:
    walker.enter(value, depth)
    return walker.mapping(value, depth)


@_handles(OrderedDict)
def _ordered(walker: Walker, value: OrderedDict[object, object], depth: int) -> Node:
    walker.enter(value, depth)
    return {"$t": "ordereddict", "v": walker.pairs(value, depth)}


@_handles(Counter)
def _counter(walker: Walker, value: Counter[object], depth: int) -> Node:
    walker.enter(value, depth)
    return {"$t": "counter", "v": walker.pairs(cast("dict[object, object]", value), depth)}


@_handles(defaultdict)
def _defaultdict(walker: Walker, value: defaultdict[object, object], depth: int) -> Node:
    walker.enter(value, depth)
    made = value.default_factory
    if made is not None and not (isinstance(made, type) and walker.may_be_factory(cast("type[object]", made))):
        raise Refused("cannot carry a defaultdict with this default_factory; use a builtin type or a record class")
    factory = walker.attributes(value, {"default_factory": value.default_factory}, depth)
    return {
        "$t": "defaultdict",
        "d": cast("dict[str, Node]", factory)["default_factory"],
        "v": walker.pairs(value, depth),
    }


@_handles(set, frozenset)
def _set(walker: Walker, value: set[object] | frozenset[object], depth: int) -> Node:
    walker.enter(value, depth)
    made: list[Node] = []
    for element in value:
        try:
            made.append(walker.walk(element, depth + 1))
        except Refused as refused:
            raise refused.at(value, "{element}") from None
    made.sort(key=_canonical)
    return {"$t": type(value).__name__, "v": made}


@_handles(deque)
def _deque(walker: Walker, value: deque[object], depth: int) -> Node:
    walker.enter(value, depth)
    made: dict[str, Node] = {"$t": "deque", "v": walker.items(value, list(value), depth + 1)}
    if value.maxlen is not None:
        made["n"] = value.maxlen
    return made


@_handles(bytes, bytearray)
def _bytes(_walker: Walker, value: bytes | bytearray, _depth: int) -> Node:
    return {"$t": type(value).__name__, "v": as_base64(value)}


@_handles(complex)
def _complex(walker: Walker, value: complex, depth: int) -> Node:
    return {"$t": "complex", "v": [walker.walk(value.real, depth), walker.walk(value.imag, depth)]}


class _Bounds(Protocol):
    start: object
    stop: object
    step: object


@_handles(range, slice)
def _range(walker: Walker, value: _Bounds, depth: int) -> Node:
    walker.enter(value, depth)
    bounds = (value.start, value.stop, value.step)
    return {"$t": type(value).__name__, "v": walker.items(value, bounds, depth + 1)}


@_handles(EllipsisType, NoneType, NotImplementedType)
def _constant(_walker: Walker, value: object, _depth: int) -> Node:
    return {"$t": "constant", "v": repr(value)}


@_handles(msgspec.UnsetType)
def _unset(_walker: Walker, _value: object, _depth: int) -> Node:
    return {"$t": "constant", "v": "UNSET"}


@_handles(Decimal, UUID)
def _as_text(_walker: Walker, value: Decimal | UUID, _depth: int) -> Node:
    return {"$t": type(value).__name__.lower(), "v": str(value)}


@_handles(Fraction)
def _fraction(walker: Walker, value: Fraction, depth: int) -> Node:
    return {"$t": "fraction", "v": [walker.walk(value.numerator, depth), walker.walk(value.denominator, depth)]}


@_handles(Path, PosixPath, WindowsPath, PurePath, PurePosixPath, PureWindowsPath)
def _path(walker: Walker, value: PurePath, _depth: int) -> Node:
    kind = "Path" if isinstance(value, Path) else type(value).__name__
    return {"$t": "path", "k": kind, "v": walker.text(str(value))}


@_handles(date)
def _date(_walker: Walker, value: date, _depth: int) -> Node:
    return {"$t": "date", "v": value.isoformat()}


@_handles(datetime)
def _datetime(walker: Walker, value: datetime, _depth: int) -> Node:
    return _clock_reading(walker, "datetime", value, value.tzinfo, value.fold)


@_handles(time)
def _time(walker: Walker, value: time, _depth: int) -> Node:
    return _clock_reading(walker, "time", value, value.tzinfo, value.fold)


@_handles(timedelta)
def _timedelta(_walker: Walker, value: timedelta, _depth: int) -> Node:
    return {"$t": "timedelta", "v": [value.days, value.seconds, value.microseconds]}


@_handles(timezone)
def _timezone(walker: Walker, value: timezone, _depth: int) -> Node:
    offset, name = value.utcoffset(None), value.tzname(None)
    made: dict[str, Node] = {"$t": "timezone", "v": [offset.days, offset.seconds, offset.microseconds]}
    if name != timezone(offset).tzname(None):
        made["n"] = walker.text(name)
    return made


@_handles(ZoneInfo)
def _zone(_walker: Walker, value: ZoneInfo, _depth: int) -> Node:
    key = cast("str | None", value.key)
    if key is None:
        raise Refused("cannot carry a ZoneInfo made from a file; use ZoneInfo(key)")
    return {"$t": "zoneinfo", "v": key}


def _clock_reading(walker: Walker, tag: str, value: datetime | time, zone: tzinfo | None, fold: int) -> Node:
    """The wall clock, and beside it the zone: an offset computed here would change with the time-zone database."""
    made: dict[str, Node] = {"$t": tag, "v": value.replace(tzinfo=None).isoformat()}
    if zone is UTC:
        made["v"] = f"{made['v']}Z"
    elif type(zone) is ZoneInfo or type(zone) is timezone:
        made["z"] = walker.walk(zone, 0)
    elif zone is not None:
        raise Refused(
            f"cannot carry a {tag} with the time zone {type(zone).__module__}.{type(zone).__qualname__};"
            " use zoneinfo.ZoneInfo"
        )
    if fold:
        made["f"] = fold
    return made
