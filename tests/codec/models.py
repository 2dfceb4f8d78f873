"""Types that the codec tests carry; a module of its own, so that they are found as a user's are."""

from __future__ import annotations

import enum
import functools
from collections import namedtuple
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

import attrs
import msgspec
import pydantic

T = TypeVar("T")


class Colour(enum.Enum):
    RED = 1
    GREEN = "green"
    ROT = 1


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Unit(enum.StrEnum):
    KG = "kg"


class Perm(enum.Flag):
    R = enum.auto()
    W = enum.auto()


class IntPerm(enum.IntFlag):
    R = 1
    W = 2


@dataclass
class Item:
    sku: str
    count: int = 1
    tags: list[str] = field(default_factory=list)
    total: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.total += 7  # would show if decoding ran it


@dataclass(frozen=True, slots=True)
class Frozen:
    a: object
    b: object = None


@dataclass
class Cached:
    n: int

    @functools.cached_property
    def double(self) -> int:
        return self.n * 2


@dataclass
class Box(Generic[T]):
    value: T


@dataclass
class Outer:
    item: Item

    @dataclass
    class Inner:
        x: int


class Point(NamedTuple):
    x: int
    y: int = 2


OldPoint = namedtuple("OldPoint", "x y")


@attrs.define
class Attr:
    a: int
    b: list[int] = attrs.Factory(list)
    _private: int = 3


@attrs.frozen(cache_hash=True)
class FrozenAttr:
    a: int


class Struct(msgspec.Struct):
    a: int
    b: list[int] = msgspec.field(default_factory=list)

    def __post_init__(self) -> None:
        self.a += 1


class Model(pydantic.BaseModel):
    name: str = pydantic.Field(alias="Name")
    n: int = 3
    _secret: int = pydantic.PrivateAttr(default=1)


class Open(pydantic.BaseModel, extra="allow"):
    a: int


class Page(pydantic.BaseModel, Generic[T]):
    items: list[T]


class MyInt(int):
    pass


class Plain:
    pass


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and other.cents == self.cents

    def __hash__(self) -> int:
        return hash(self.cents)


class CardDeclined(Exception):
    def __init__(self, code: str, *, retry: bool) -> None:
        super().__init__(f"declined: {code}")
        self.code = code
        self.retry = retry


class Slotted(Exception):
    __slots__ = ("detail",)

    def __init__(self, detail: str) -> None:
        self.detail = detail


class NeedsLost(Exception):
    """Its text needs an attribute that can't be carried."""

    def __init__(self) -> None:
        super().__init__()
        self.source = lambda: "text"

    def __str__(self) -> str:
        return self.source()


class NewNeedsMore(Exception):
    def __new__(cls, code: int) -> NewNeedsMore:
        return super().__new__(cls, code)


class BadStr(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


class Hostile(Exception):
    def __getattribute__(self, name: str) -> object:
        raise RuntimeError(name)


class FileGone(FileNotFoundError):
    def __init__(self, path: str) -> None:
        super().__init__(2, "gone", path)


class MyGroup(ExceptionGroup[Exception]):
    def derive(self, excs):
        return MyGroup(self.message, excs)


@dataclass(frozen=True)
class DataError(Exception):
    code: int


@attrs.define(auto_exc=True)
class AttrError(Exception):
    code: int
