"""From Python values to a tree of plain JSON types: what JSON would change is tagged, what can't be carried is refused.

The tags are listed in ``docs/decisions/codec-format.md``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from enum import Enum, EnumMeta, Flag
from types import NoneType
from typing import Final, Protocol, cast

from outlive._codec import refusal
from outlive._codec.builtin_types import HANDLERS
from outlive._codec.limits import LARGEST, SMALLEST
from outlive._codec.nodes import Node, as_base64
from outlive._codec.records import Mismatch, Shape, shape_of
from outlive._codec.refusal import Refused
from outlive._codec.types import Adapter, TypeRegistry

Shapes = dict[type[object], Shape | None]

_FLAT: Final = frozenset({str, bool, NoneType})
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class ExceptionRecorder(Protocol):
    """How an exception met within a value is recorded."""

    def __call__(self, walker: Walker, error: BaseException, depth: int) -> Node: ...


class Walker:
    """One walk over one value.

    Args:
        types: The classes that decoding will find again.
        shapes: Record classes seen before, filled by this walk.
        record: How exceptions are carried.
        max_depth: How deep containers may be nested.
        budget: How many containers the value may have.
        careful: Look into each string for lone surrogates; msgspec refuses them, and only then a second walk has to.
    """

    __slots__ = ("_budget", "_record", "_shapes", "careful", "max_depth", "recording", "types")

    def __init__(
        self,
        *,
        types: TypeRegistry,
        shapes: Shapes,
        record: ExceptionRecorder,
        max_depth: int,
        budget: int,
        careful: bool,
    ) -> None:
        self.types = types
        self.max_depth = max_depth
        self.recording: set[int] = set()
        self._shapes = shapes
        self._record = record
        self._budget = budget
        self.careful = careful

    def walk(self, value: object, depth: int) -> Node:
        """``value`` as plain JSON types; a container at ``depth`` counts itself.

        Raises:
            Refused: Something in it can't be carried.
        """
        kind = type(value)
        if kind is str:
            return self.text(cast("str", value)) if self.careful else value
        if kind is int:
            number = cast("int", value)
            return number if SMALLEST <= number <= LARGEST else {"$t": "int", "v": hex(number)}
        if value is None or kind is bool:
            return value
        if kind is float:
            real = cast("float", value)
            return real if math.isfinite(real) else {"$t": "float", "v": repr(real)}
        handler = HANDLERS.get(kind)
        if handler is not None:
            return handler(self, value, depth)
        return self._instance(value, kind, depth)

    def text(self, value: str) -> Node:
        if _SURROGATE.search(value) is None:
            return value
        return {"$t": "str", "v": as_base64(value.encode("utf-8", "surrogatepass"))}

    def enter(self, value: object, depth: int) -> None:
        """Count a container."""
        if depth > self.max_depth:
            raise Refused(f"nested deeper than {self.max_depth} levels", deepest=value)
        self._budget -= 1
        if self._budget < 0:
            raise Refused("holds more containers than max_bytes has room for")

    def items(self, owner: object, values: Iterable[object], depth: int) -> list[Node]:
        """Each of ``values``, which are at ``depth`` in ``owner``."""
        made: list[Node] = []
        try:
            for value in values:
                made.append(self.walk(value, depth))
        except Refused as refused:
            raise refused.at(owner, f"[{len(made)}]") from None
        return made

    def mapping(self, owner: dict[object, object], depth: int) -> Node:
        """A dict as a JSON object, or as pairs where a key is no string or could be mistaken for a tag."""
        made: dict[str, Node] = {}
        careful = self.careful
        key: object = None
        try:
            for key, value in owner.items():
                if type(key) is not str or key[:1] == "$" or (careful and _SURROGATE.search(key)):
                    break
                made[key] = value if type(value) in _FLAT and not careful else self.walk(value, depth + 1)
            else:
                return made
        except Refused as refused:
            raise refused.at(owner, refusal.key_segment(key)) from None
        return {"$t": "dict", "v": self.pairs(owner, depth)}

    def pairs(self, owner: dict[object, object], depth: int) -> Node:
        made: list[list[Node]] = []
        for index, (key, value) in enumerate(list(owner.items())):
            try:
                key_node = self.walk(key, depth + 1)
            except Refused as refused:
                raise refused.at(owner, f".keys()[{index}]") from None
            try:
                made.append([key_node, self.walk(value, depth + 1)])
            except Refused as refused:
                raise refused.at(owner, refusal.key_segment(key)) from None
        return made

    def attributes(self, owner: object, attributes: dict[str, object], depth: int) -> Node:
        """Named attributes of ``owner``; one level with their owner."""
        made: dict[str, Node] = {}
        name = ""
        try:
            for name, value in attributes.items():
                if name[:1] == "$" or (self.careful and _SURROGATE.search(name)):
                    raise Refused("cannot carry an attribute of this name")
                made[name] = value if type(value) in _FLAT and not self.careful else self.walk(value, depth + 1)
        except Refused as refused:
            raise refused.at(owner, f".{name}") from None
        return made

    def class_node(self, cls: type[object]) -> Node:
        """The stored name of ``cls``; a pydantic generic is its origin with its arguments."""
        name = self.types.name_of(cls)
        if name is not None:
            return name
        generic = cast("dict[str, object]", getattr(cls, "__pydantic_generic_metadata__", {}))
        origin, arguments = generic.get("origin"), cast("tuple[object, ...]", generic.get("args", ()))
        if isinstance(origin, type) and arguments and all(isinstance(argument, type) for argument in arguments):
            return {
                "o": self.class_node(cast("type[object]", origin)),
                "a": [self.class_node(a) for a in cast("tuple[type, ...]", arguments)],
            }
        raise Refused(refusal.unknown_class(cls))

    def may_be_factory(self, cls: type[object]) -> bool:
        """Whether a stored value may name ``cls`` to be called: a class that only holds data."""
        return self.types.always_known(cls) or self.shape(cls) is not None

    def shape(self, cls: type[object]) -> Shape | None:
        try:
            return self._shapes[cls]
        except KeyError:
            return self._shapes.setdefault(cls, shape_of(cls))

    def _instance(self, value: object, kind: type[object], depth: int) -> Node:
        # By ``kind``, never isinstance: a proxy must not pass as what it stands for.
        if issubclass(kind, BaseException):
            return self._record(self, cast("BaseException", value), depth)
        adapter = self.types.adapter_of(kind)
        if adapter is not None:
            return self.adapted(value, adapter, depth)
        if issubclass(kind, Enum):
            return self._member(cast("Enum", value), kind)
        if issubclass(kind, type):
            return {"$t": "type", "c": self.class_node(cast("type[object]", value))}
        if tuple in kind.__mro__ and hasattr(kind, "_fields"):
            return self._namedtuple(cast("tuple[object, ...]", value), kind, depth)
        shape = self.shape(kind)
        if shape is None:
            raise Refused(refusal.reason(value))
        return self._record_instance(value, kind, shape, depth)

    def adapted(self, value: object, adapter: Adapter, depth: int) -> Node:
        """An instance of a class that was registered with its own ``encode``."""
        self.enter(value, depth)
        try:
            carried = adapter.encode(value)
        except Exception as error:
            raise Refused(f"the encode= of {adapter.name} raised {type(error).__name__}: {error}") from error
        try:
            node = self.walk(carried, depth + 1)
        except Refused as refused:
            raise refused.at(value, "") from None
        made: dict[str, Node] = {"$t": "ext", "c": adapter.name, "v": node}
        if adapter.secret:
            made["secret"] = True
        return made

    def _member(self, value: Enum, kind: type[object]) -> Node:
        name = self.class_node(kind)
        members: Mapping[str, object] = cast("EnumMeta", kind).__members__
        if value.name in members:
            return {"$t": "enum", "c": name, "v": value.name}
        if isinstance(value, Flag):
            return {"$t": "flag", "c": name, "v": self.walk(value.value, 0)}
        raise Refused(f"cannot carry a member of {kind.__qualname__} that the class does not name")

    def _namedtuple(self, value: tuple[object, ...], kind: type[object], depth: int) -> Node:
        self.enter(value, depth)
        if getattr(value, "__dict__", None):
            raise Refused(
                f"cannot carry the attributes added to the named tuple {kind.__qualname__}; make it a dataclass"
            )
        names = cast("tuple[str, ...]", getattr(kind, "_fields"))  # noqa: B009 - unknown to type checkers
        return {
            "$t": "namedtuple",
            "c": self.class_node(kind),
            "v": self.attributes(value, dict(zip(names, value, strict=True)), depth),
        }

    def _record_instance(self, value: object, kind: type[object], shape: Shape, depth: int) -> Node:
        self.enter(value, depth)
        name = self.class_node(kind)
        try:
            parts = shape.take(value)
        except Mismatch as mismatch:
            raise Refused(str(mismatch)) from None
        except Exception as error:  # a descriptor of the user's, which stands in for a field
            raise Refused(f"reading its fields raised {type(error).__name__}: {error}") from error
        made: dict[str, Node] = {"$t": shape.tag, "c": name, "v": self.attributes(value, parts.fields, depth)}
        if parts.others:
            made["x"] = self.attributes(value, parts.others, depth)
        if parts.beside:
            made["b"] = self.attributes(value, parts.beside, depth)
        return made
