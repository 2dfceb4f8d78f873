"""Which Python types may be rebuilt from stored data.

A stored name is ``module:qualname``. It is only ever compared with classes that this process already made known:
nothing is imported for it, and no attribute is fetched through ``getattr`` (a module's ``__getattr__`` may import, a
descriptor may run code).
"""

from __future__ import annotations

import builtins
import dataclasses
import sys
import typing
from asyncio import exceptions as asyncio_exceptions
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PosixPath, PurePath, PurePosixPath, PureWindowsPath, WindowsPath
from types import EllipsisType, GenericAlias, ModuleType, NoneType, NotImplementedType, UnionType
from typing import Any, Final, TypeVar, cast, overload
from uuid import UUID
from zoneinfo import ZoneInfo

from outlive import errors

C = TypeVar("C", bound=type[object])
T = TypeVar("T")
Encode = Callable[[object], object]
Decode = Callable[[Any], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """How instances of one registered class travel."""

    cls: type[object]
    name: str
    encode: Encode
    decode: Decode
    secret: bool


_CARRIED: Final[tuple[type[object], ...]] = (
    *(bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, range, slice, object, type),
    *(NoneType, EllipsisType, NotImplementedType, deque, OrderedDict, Counter, defaultdict),
    *(date, datetime, time, timedelta, timezone, ZoneInfo, Decimal, Fraction, UUID),
    *(Path, PosixPath, WindowsPath, PurePath, PurePosixPath, PureWindowsPath),
)


def importable_name(module: str) -> str:
    """``module``; for a script the name under which it could be imported, so that a worker finds what it stored (R37)."""
    if module != "__main__":
        return module
    main = sys.modules["__main__"]
    spec = cast("object", getattr(main, "__spec__", None))
    if spec is not None:
        return str(cast("object", getattr(spec, "name", ""))).removesuffix(".__main__")
    file = cast("str | None", getattr(main, "__file__", None))
    return PurePath(file).stem if file else "__main__"


def natural_name(cls: type[object]) -> str:
    """The name under which ``cls`` is stored unless it was registered under another."""
    return f"{importable_name(cls.__module__)}:{cls.__qualname__}"


def _exceptions_of(module: ModuleType) -> list[type[object]]:
    return [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, BaseException)]


_ALWAYS_KNOWN: Final[Mapping[str, type[object]]] = {
    # Python 3.13 keeps the classes of pathlib in a private module; what is stored must not depend on the minor version.
    natural_name(cls).replace("pathlib._local:", "pathlib:"): cls
    for cls in (*_CARRIED, *_exceptions_of(builtins), *_exceptions_of(errors), *_exceptions_of(asyncio_exceptions))
}


_NAMES: Final[Mapping[type[object], str]] = {cls: name for name, cls in _ALWAYS_KNOWN.items()}


class TypeRegistry:
    """The classes that the decoder may build, and the user's own ways to carry them."""

    def __init__(self) -> None:
        self._registered: dict[str, type[object]] = {}
        self._names: dict[type[object], str] = dict(_NAMES)
        self._adapters: dict[type[object], Adapter] = {}
        self._adapters_by_name: dict[str, Adapter] = {}
        self._reached: dict[str, Mapping[str, object]] = {}
        self._found: dict[str, type[object]] = {}

    @overload
    def register(
        self,
        cls: C,
        *,
        name: str | None = None,
        encode: Callable[[T], object] | None = None,
        decode: Decode | None = None,
        secret: bool = False,
    ) -> C: ...

    @overload
    def register(
        self,
        cls: None = None,
        *,
        name: str | None = None,
        encode: Callable[[T], object] | None = None,
        decode: Decode | None = None,
        secret: bool = False,
    ) -> Callable[[C], C]: ...

    def register(
        self,
        cls: C | None = None,
        *,
        name: str | None = None,
        encode: Callable[[T], object] | None = None,
        decode: Decode | None = None,
        secret: bool = False,
    ) -> C | Callable[[C], C]:
        """Make ``cls`` known, and with ``encode`` and ``decode`` say how its instances travel.

        A class may be registered under several names, so that data stored under an old one stays readable; the last one
        is written.

        Args:
            cls: The class; left out when used as a decorator.
            name: The stored name. Unset means ``module:qualname``.
            encode: From an instance to a value that can be carried.
            decode: From that value back to an instance.
            secret: Stored instances are marked, so that every view can mask them.

        Raises:
            DuplicateName: Another class has the name.
            ConfigurationError: Only one of ``encode`` and ``decode`` was given.
        """
        if cls is None:
            return lambda decorated: self.register(decorated, name=name, encode=encode, decode=decode, secret=secret)
        if (encode is None) != (decode is None):
            raise errors.ConfigurationError(f"register({cls.__qualname__}) needs both encode= and decode=, or neither")
        stored = name or natural_name(cls)
        holder = self._registered.get(stored) or _ALWAYS_KNOWN.get(stored)
        if holder is not None and holder is not cls and natural_name(holder) != natural_name(cls):
            raise errors.DuplicateName(
                f"the name {stored!r} belongs to {natural_name(holder)};"
                f" register {natural_name(cls)} with another name="
            )
        self._keep(stored, cls)
        if encode is not None and decode is not None:
            adapter = Adapter(cls=cls, name=stored, encode=cast("Encode", encode), decode=decode, secret=secret)
            self._adapters[cls] = adapter
            self._adapters_by_name[stored] = adapter
        return cls

    def reach(self, namespace: Mapping[str, object], module: str | None = None) -> None:
        """Make known what can be reached from the globals of ``module``, which defines a step or a workflow.

        The mapping is kept, not copied: what is defined in it later is found too.
        """
        self._reached[importable_name(module or str(namespace.get("__name__", "")))] = namespace

    def reach_types(self, annotations: Iterable[object]) -> None:
        """Make known the classes in ``annotations``, within generics and unions, and in the fields of records."""
        pending = list(annotations)
        seen: set[int] = set()
        while pending:
            annotation = pending.pop()
            if id(annotation) in seen or annotation is None:
                continue
            seen.add(id(annotation))
            pending += _inside(annotation)
            if isinstance(annotation, type) and not isinstance(annotation, GenericAlias) and not _generic(annotation):
                cls = cast("type[object]", annotation)
                if cls.__module__ != "builtins" and natural_name(cls) not in _ALWAYS_KNOWN and cls not in self._names:
                    self._keep(natural_name(cls), cls)

    def reached(self, module: str) -> Mapping[str, object]:
        """The globals of ``module``, if they were made known."""
        return self._reached.get(module, {})

    def lookup(self, name: str) -> type[object] | None:
        """The known class of that name, or None."""
        known = self._registered.get(name) or _ALWAYS_KNOWN.get(name) or self._found.get(name)
        if known is None and (known := self._search(name)) is not None:
            self._found[name] = known
        return known

    def name_of(self, cls: type[object]) -> str | None:
        """The name under which ``lookup`` finds ``cls``, or None if it would not find it."""
        if (name := self._names.get(cls)) is not None:
            return name
        name = natural_name(cls)
        if self.lookup(name) is not cls:
            if name in self._registered or name in _ALWAYS_KNOWN or self._search(name) is not cls:
                return None
            self._names.pop(self._found[name], None)  # the module was reloaded, or a notebook's cell ran again
            self._found[name] = cls
        self._names[cls] = name
        return name

    def always_known(self, cls: type[object]) -> bool:
        """Whether ``cls`` is one of the types that every process knows."""
        return cls in _NAMES

    def adapter_of(self, cls: type[object]) -> Adapter | None:
        return self._adapters.get(cls)

    def adapter_named(self, name: str) -> Adapter | None:
        return self._adapters_by_name.get(name)

    def _keep(self, name: str, cls: type[object]) -> None:
        before = self._registered.get(name)
        if before is not None and before is not cls:
            self._names.pop(before, None)
            self._adapters.pop(before, None)
        self._registered[name] = cls
        self._names[cls] = name

    def _search(self, name: str) -> type[object] | None:
        module, _, qualname = name.partition(":")
        path = qualname.split(".")
        if module == "builtins" or not all(path):
            return None
        owner = self._reached.get(module)
        if owner is not None and (found := _class_at(owner, path, module)) is not None:
            return found
        for namespace in list(self._reached.values()):
            for value in list(namespace.values()):
                kind = type(value)  # never isinstance: a lazy proxy among the globals would run code to answer it
                if issubclass(kind, ModuleType):
                    found = _class_in_module(cast("ModuleType", value), path, module)
                elif issubclass(kind, type):
                    found = _class_within(value, path, module)
                else:
                    continue
                if found is not None:
                    return found
        return None


def _class_at(namespace: Mapping[str, object], path: list[str], module: str) -> type[object] | None:
    return _class_within(namespace.get(path[0]), path, module)


def _class_within(value: object, path: list[str], module: str) -> type[object] | None:
    """``value``, or the class nested in it, if it really is the class of that module and path."""
    found: type[object] | None = None
    for depth, part in enumerate(path, start=1):
        held = value if found is None else vars(found).get(part)
        if not issubclass(type(held), type):
            return None
        found = cast("type[object]", held)
        if importable_name(found.__module__) != module or found.__qualname__ != ".".join(path[:depth]):
            return None
    return found


def _contents(module: ModuleType) -> dict[str, object]:
    """The globals of ``module``, without waking one that is imported lazily."""
    return cast("dict[str, object]", object.__getattribute__(module, "__dict__"))


def _class_in_module(start: ModuleType, path: list[str], module: str) -> type[object] | None:
    """The class as an attribute of the module, or of the submodule that is its attribute and carries the asked name."""
    if (found := _class_at(_contents(start), path, module)) is not None:
        return found
    own = str(_contents(start).get("__name__"))
    if not module.startswith(f"{own}."):
        return None
    current = start
    for part in module[len(own) + 1 :].split("."):
        following = _contents(current).get(part)
        if not issubclass(type(following), ModuleType):
            return None
        current = cast("ModuleType", following)
    return _class_at(_contents(current), path, module)


def _inside(annotation: object) -> list[object]:
    if isinstance(annotation, list):  # the parameters of a Callable
        return cast("list[object]", annotation)
    parts: list[object] = [*cast("tuple[object, ...]", typing.get_args(annotation)), *_generic(annotation)]
    if isinstance(annotation, UnionType):
        return parts
    origin = cast("object", typing.get_origin(annotation))
    if origin is not None:
        return [*parts, origin]
    if isinstance(annotation, type) and _has_fields(cast("type[object]", annotation)):
        try:
            hints = cast("dict[str, object]", typing.get_type_hints(annotation))
        except Exception:  # an annotation that can't be evaluated here makes fewer types known, and encoding says which
            hints = {}
        parts += hints.values()
    return parts


def _generic(annotation: object) -> tuple[object, ...]:
    """The origin and the arguments of a parametrised pydantic model, which is a class of its own."""
    metadata = cast("dict[str, object]", getattr(annotation, "__pydantic_generic_metadata__", {}))
    arguments = cast("tuple[object, ...]", metadata.get("args", ()))
    return (metadata["origin"], *arguments) if arguments else ()


def _has_fields(cls: type[object]) -> bool:
    if dataclasses.is_dataclass(cls):
        return True
    return any(
        hasattr(cls, mark)
        for mark in ("__attrs_attrs__", "__struct_fields__", "__pydantic_fields__", "_field_defaults")
    )
