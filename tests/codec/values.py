"""One value of every carried type, with the edges of each, and a comparison that sees what ``==`` overlooks."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict, defaultdict, deque
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from tests.codec import models as m

BERLIN = ZoneInfo("Europe/Berlin")
EST = timezone(timedelta(hours=-5), "EST")

VALUES: dict[str, object] = {
    "none": None,
    "bools": [True, False],
    "ints": [0, -1, 2**63 - 1, -(2**63), 2**63, -(2**63) - 1, 2**64, 10**5000],
    "floats": [1.0, -0.0, 1e16, 1e-320, 0.1, math.nan, math.inf, -math.inf],
    "strs": ["", "a", "\0", "ü€😀", '"$t"', "$"],
    "surrogates": ["\ud800", "\ud83d\ude00", {"\udfff": "\udfff"}],
    "bytes": [b"", b"\x00\xff", bytearray(b"ab")],
    "tuples": ((), (1, (2, [3])), [(1,)]),
    "dict": {"b": 1, "a": {"x": None}, "": 0},
    "dict-keys": {1: "a", "1": "b", (1, 2): "c", None: "d", 2.5: "e", frozenset({1}): "f"},
    "dict-tag-keys": [{"$t": "int", "v": "0x0"}, {"$z": "zlib"}, {"$other": 1}, {"x": {"$t": "type"}}],
    "sets": [set(), {1, "a", (1, 2)}, frozenset({frozenset({1}), frozenset()})],
    "collections": [
        deque([1, 2], maxlen=3),
        deque(),
        OrderedDict([("b", 1), ("a", 2)]),
        Counter("aab"),
        defaultdict(list, {"a": [1]}),
        defaultdict(None, {1: 2}),
    ],
    "datetimes": [
        datetime(2026, 1, 2, 3, 4, 5),
        datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
        datetime(2026, 1, 2, 3, 4, 5, tzinfo=EST),
        datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=1, seconds=7, microseconds=5))),
        datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN),
        datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=BERLIN),
        datetime(2026, 1, 2, fold=1),
        datetime.min,
        datetime.max,
    ],
    "times": [time(1, 2, 3, 4), time(1, tzinfo=UTC), time(2, 30, fold=1, tzinfo=BERLIN), time(0)],
    "calendar": [date(2026, 11, 22), timedelta(days=-1, microseconds=1), timedelta.max, UTC, EST, BERLIN, timezone.min],
    "decimals": [
        Decimal("1.10"),
        Decimal("-0"),
        Decimal("NaN123"),
        Decimal("sNaN"),
        Decimal("-Infinity"),
        Decimal("1E+999999"),
    ],
    "numbers": [
        1 + 2j,
        complex(math.nan, -0.0),
        Fraction(1, 3),
        Fraction(1, 10**5000),
        range(0, 10, 2),
        slice(1, None, 2),
    ],
    "uuid": UUID("12345678-1234-5678-1234-567812345678"),
    "paths": [Path("a/b"), PurePath("c"), PurePosixPath("/d"), PureWindowsPath("C:\\e"), PurePosixPath("\udcff")],
    "constants": [..., NotImplemented, msgspec.UNSET],
    "enums": [
        m.Colour.RED,
        m.Colour.ROT,
        m.Colour.GREEN,
        m.Level.HIGH,
        m.Unit.KG,
        m.Perm.R | m.Perm.W,
        m.Perm(0),
        m.IntPerm(3),
    ],
    "classes": [int, list, ValueError, m.Item, m.Outer.Inner, m.Plain, datetime, type(None)],
    "namedtuples": [m.Point(1), m.OldPoint(1, [2])],
    "dataclasses": [
        m.Item("a", tags=["t"]),
        m.Frozen(1, m.Frozen((2,))),
        m.Box[int](3),
        m.Outer.Inner(1),
        {m.Frozen(1)},
    ],
    "attrs": [m.Attr(1, [2], 4), m.FrozenAttr(1), {m.FrozenAttr(2): 1}],
    "struct": [m.Struct(1, [2])],
    "pydantic": [
        m.Model(Name="ada"),
        m.Model(Name="ada", n=3),
        m.Open(a=1, b=[2]),
        m.Page[int](items=[1]),
        m.Page(items=["a"]),
    ],
    "registered": [m.Money(5), {m.Money(1): m.Money(2)}],
}


def picture(value: object) -> object:
    """``value`` with types, signs of zero, NaN, folds and zones, order of dicts, attributes."""
    kind = type(value)
    if isinstance(value, (float, complex, Decimal)):
        return (kind, repr(value))
    if isinstance(value, (datetime, time)):
        return (kind, value.replace(tzinfo=None), value.fold, repr(value.tzinfo))
    if isinstance(value, dict):
        parts = [(picture(k), picture(v)) for k, v in value.items()]
        return (kind, parts, getattr(value, "default_factory", None))
    if isinstance(value, (set, frozenset)):
        return (kind, sorted((picture(v) for v in value), key=repr))
    if isinstance(value, slice):
        return (kind, repr(value))
    if isinstance(value, (list, tuple, deque)):
        return (kind, [picture(v) for v in value], getattr(value, "maxlen", None))
    if isinstance(value, BaseException):
        links = (value.__cause__, value.__context__, value.__suppress_context__)
        members = value.exceptions if isinstance(value, BaseExceptionGroup) else value.args
        return (kind, picture(members), picture(vars(value)), [picture(link) for link in links], str(value))
    if kind.__module__ == m.__name__ and not isinstance(value, Enum):
        beside = [getattr(value, f"__pydantic_{name}__", None) for name in ("private", "fields_set", "extra")]
        return (kind, [(name, picture(getattr(value, name))) for name in names_of(value)], picture(beside))
    return (kind, value)


def names_of(value: object) -> list[str]:
    kind = type(value)
    slots = [name for parent in kind.__mro__ for name in vars(parent).get("__slots__", ())]
    own = {"__weakref__", "__orig_class__", "_attrs_cached_hash", *(name for name in slots if name.startswith("__"))}
    return sorted({*slots, *getattr(value, "__dict__", ()), *getattr(kind, "__struct_fields__", ())} - own)
