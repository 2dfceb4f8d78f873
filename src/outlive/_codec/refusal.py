"""Why a value can't be carried, where it sits, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import (
    AsyncGeneratorType,
    BuiltinFunctionType,
    CoroutineType,
    FunctionType,
    GeneratorType,
    MethodType,
    ModuleType,
)
from typing import Final, Self

_SHOWN_KEY: Final = 40
_BUILTIN_BASES: Final = (int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset)
_HINTS: Final[Mapping[type[object], str]] = {
    FunctionType: "decorate it with @step or @workflow to pass a reference, or pass its arguments and call it there",
    BuiltinFunctionType: "pass its arguments and call it there",
    MethodType: "pass the object and call the method there",
    GeneratorType: "pass list(...) of it",
    AsyncGeneratorType: "collect it into a list first",
    CoroutineType: "await it first, and pass what it returns",
    ModuleType: "import it where it is needed",
}
_PROCESS_BOUND: Final = re.compile(
    r"lock|socket|wrapper|fileio|buffered|thread|connection|engine|session|client", re.IGNORECASE
)


class Refused(Exception):
    """A value can't be carried. Grows its path on the way up from where it was raised."""

    def __init__(self, why: str, *, deepest: object = None) -> None:
        super().__init__(why)
        self.why = why
        self._segments: list[str] = []
        self._owners: list[object] = [] if deepest is None else [deepest]

    def at(self, owner: object, segment: str) -> Self:
        """The same, seen from ``owner``."""
        self._segments.append(segment)
        self._owners.append(owner)
        return self

    def describe(self, root: str) -> str:
        """``root.items[3]: cannot carry ...``; of a value that contains itself, only the first turn."""
        owners, segments = self._owners[::-1], self._segments[::-1]
        first: dict[int, int] = {}
        for index, owner in enumerate(owners):
            start = first.setdefault(id(owner), index)
            if start != index:
                whole, part = root + "".join(segments[:start]), root + "".join(segments[:index])
                return f"{part}: is {whole} again; a value that contains itself cannot be carried"
        if len(segments) > 20:
            segments = [*segments[:10], " ... ", *segments[-5:]]
        return f"{root}{''.join(segments)}: {self.why}"


def key_segment(key: object) -> str:
    """How a dict's key is shown in a path; only plain keys, because ``repr`` of others runs their code."""
    if type(key) in {str, int, bool, float}:
        shown = repr(key)
        return f"[{shown if len(shown) <= _SHOWN_KEY else shown[:_SHOWN_KEY] + '...'}]"
    return f"[<{type(key).__qualname__}>]"


def reason(value: object) -> str:
    """Why ``value``, of a type that is not carried, is refused."""
    kind = type(value)
    name = f"{kind.__module__}.{kind.__qualname__}" if kind.__module__ != "builtins" else kind.__qualname__
    for known, hint in _HINTS.items():
        if issubclass(kind, known):
            return f"cannot carry {name}; {hint}"
    base = next((base for base in _BUILTIN_BASES if issubclass(kind, base)), None)
    if base is not None:
        return (
            f"cannot carry {name}, a subclass of {base.__name__}; pass {base.__name__}(...) of it,"
            " or register the class with encode= and decode="
        )
    if _PROCESS_BOUND.search(kind.__qualname__):
        return f"cannot carry {name}; it belongs to this process: open it inside the step, and pass what that takes"
    return f"cannot carry {name}; make the class a dataclass, or register it with encode= and decode="


def unknown_class(cls: type[object]) -> str:
    """Why the name of ``cls`` can't be stored."""
    name = f"{cls.__module__}.{cls.__qualname__}"
    if "<locals>" in cls.__qualname__:
        return f"cannot carry {name}; a class defined in a function can't be found again: define it in a module"
    return (
        f"cannot carry {name}; decoding could not find the class again: import it in the module that defines the step"
        " or workflow, or register it"
    )
