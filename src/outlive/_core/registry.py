"""Which code stands behind which name."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from types import FunctionType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from outlive._codec import TypeRegistry
from outlive._codec.types import importable_name
from outlive.errors import DuplicateName, UnknownWorkflow

if TYPE_CHECKING:
    from outlive._core.authoring import Step, Workflow

D = TypeVar("D", bound="Step[..., Any] | Workflow[..., Any]")


def stable_name(function: Callable[..., object]) -> str:
    """``module:qualname``."""
    return f"{importable_name(function.__module__)}:{function.__qualname__}"


class _Named(Generic[D]):
    """One kind of definition by name."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._by_name: dict[str, D] = {}

    def add(self, definition: D) -> None:
        """Register ``definition``; the same function defined again takes its own place (reload, notebooks, tests).

        Raises:
            DuplicateName: Another function has this name.
        """
        there = self._by_name.get(definition.name)
        if there is not None and stable_name(there.fn) != stable_name(definition.fn):
            raise DuplicateName(
                f"two {self._kind}s are named {definition.name!r}: {stable_name(there.fn)} and {stable_name(definition.fn)}; "
                "give one of them another name="
            )
        self._by_name[definition.name] = definition

    def get(self, name: str) -> D | None:
        return self._by_name.get(name)

    def names(self) -> list[str]:
        return sorted(self._by_name)

    def all(self) -> list[D]:
        return list(self._by_name.values())


class Registry:
    """Steps, workflows and the types that their modules know."""

    def __init__(self) -> None:
        self.types: TypeRegistry = TypeRegistry()
        self.steps: _Named[Step[..., Any]] = _Named("step")
        self.workflows: _Named[Workflow[..., Any]] = _Named("workflow")
        self._modules: set[str] = set()

    def reach(self, function: Callable[..., object]) -> None:
        """Make the classes that the module of ``function`` can name known to the codec (R12)."""
        if function.__module__ not in self._modules:
            self._modules.add(function.__module__)
            self.types.reach(function.__globals__)

    def workflow(self, name: str) -> Workflow[..., Any]:
        """The workflow of that name.

        Raises:
            UnknownWorkflow: No module imported here defines it.
        """
        found = self.workflows.get(name)
        if found is None:
            module = name.partition(":")[0]
            raise UnknownWorkflow(
                f"no workflow {name!r} is known here; import {module!r} first, or start the worker with it: outlive worker {module}"
            )
        return found

    def step(self, name: str) -> Step[..., Any]:
        """The step of that name.

        Raises:
            UnknownWorkflow: No module imported here defines it.
        """
        found = self.steps.get(name)
        if found is None:
            raise UnknownWorkflow(f"no step {name!r} is known here; import {name.partition(':')[0]!r} first")
        return found

    def function(self, name: str) -> Callable[..., object] | None:
        """What stands under ``name`` at the top of a module that defines a step or workflow; nothing is imported for it."""
        module, _, qualname = name.partition(":")
        found = self.types.reached(module).get(qualname)
        return found if isinstance(found, FunctionType) else None

    def fingerprint(self) -> str:
        """Changes when the source of any module that defines a step or workflow does, or its set of names (R32)."""
        digest = hashlib.blake2b(digest_size=16)
        for name in (*self.workflows.names(), "", *self.steps.names()):
            digest.update(name.encode() + b"\0")
        for module in sorted(self._modules):
            digest.update(_source(module))
        return digest.hexdigest()


def _source(module: str) -> bytes:
    loaded = sys.modules.get(module)
    file = getattr(loaded, "__file__", None)
    if file is None:
        return module.encode()
    try:
        with open(file, "rb") as source:
            return source.read()
    except OSError:
        return module.encode()


registry = Registry()
"""Where the decorators register; a process has one set of imported modules, so it has one of these."""
