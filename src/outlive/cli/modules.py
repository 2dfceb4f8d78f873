"""Importing the modules of users that a command line names."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any, Final, cast

from outlive._core.authoring import Workflow
from outlive._core.registry import registry
from outlive._runtime.transactions import Begin
from outlive.cli.exits import FAILED, Complaint

_OURS: Final = str(Path(__file__).parent)


def load(name: str) -> ModuleType:
    """The module ``name``, or the one in the file ``name``; found from the working directory, as by ``python -m``.

    Raises:
        Complaint: There is none, or it raised while it was imported.
    """
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    path = Path(name)
    if name.endswith(".py"):
        if not path.is_file():
            raise Complaint(f"there is no file {name}")
        return _load_file(path.resolve())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if missing.name and (name == missing.name or name.startswith(f"{missing.name}.")):
            raise Complaint(
                f"there is no module {name!r} in {here} or on sys.path; name a module (shop.orders) or a file (shop/orders.py)"
            ) from missing
        raise _broken(name, missing) from missing
    except Exception as error:  # whatever the user's module raises, told with the user's own frames
        raise _broken(name, error) from error


def _load_file(path: Path) -> ModuleType:
    """Under the name that its runs have when it is run as a script (R37)."""
    there = sys.modules.get(path.stem)
    if there is not None:
        if getattr(there, "__file__", None) == str(path):
            return there
        raise Complaint(f"{path} would be the module {path.stem!r}, which is imported from elsewhere; rename the file")
    folder = str(path.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None, "a .py file has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise _broken(str(path), error) from error
    return module


def _broken(name: str, error: Exception) -> Complaint:
    """The user's traceback without the frames that led to it."""
    told = traceback.TracebackException.from_exception(error)
    told.stack = traceback.StackSummary.from_list(
        [
            frame
            for frame in told.stack
            if not frame.filename.startswith(("<frozen importlib", _OURS)) and frame.filename != importlib.__file__
        ]
    )
    return Complaint(f"{name} can't be imported:\n{''.join(told.format(chain=False))}".rstrip(), FAILED)


def load_modules(names: tuple[str, ...]) -> None:
    """Import all of ``names``.

    Raises:
        Complaint: One of them can't be, or names a workflow.
    """
    for name in names:
        if ":" in name:
            raise Complaint(f"{name!r} names a workflow; name its module: {name.partition(':')[0]}")
        load(name)


def load_transactions(target: str | None) -> Begin | None:
    """What ``module:name`` or ``path/to/file.py:name`` begins transactions with.

    Raises:
        Complaint: There is nothing there that can be called.
    """
    if target is None:
        return None
    place, _, name = target.rpartition(":")
    if not place or not name:
        raise Complaint(f"{target!r} names nothing that begins transactions; name it as in shop.db:begin")
    found: Any = load(place)
    for part in name.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise Complaint(f"{place} has no {name!r} that could be called to begin a transaction")
    return cast("Begin", found)


def load_workflow(target: str) -> Workflow[..., Any]:
    """What ``module:workflow`` or ``path/to/file.py:workflow`` names.

    Raises:
        Complaint: There is no such workflow.
    """
    place, colon, name = target.rpartition(":")
    if not colon:
        place, name = target, ""
    module = load(place)
    found: object = module
    for part in name.split(".") if name else ():
        found = getattr(found, part, None)
    if isinstance(found, Workflow):
        return cast("Workflow[..., Any]", found)
    if not name:
        problem = f"{target} names no workflow"
    elif found is None:
        problem = f"{place} has no {name!r}"
    else:
        problem = f"{target} is not a workflow; decorate it with @workflow"
    known = [flow.fn.__qualname__ for flow in registry.workflows.all() if flow.fn.__module__ == module.__name__]
    choices = f"; there is {', '.join(f'{place}:{qualname}' for qualname in known)}" if known else ""
    raise Complaint(f"{problem}{choices}")
