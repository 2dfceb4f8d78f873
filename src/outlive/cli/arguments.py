"""Arguments of a workflow, given as JSON."""

from __future__ import annotations

import typing
from typing import Any, cast

import msgspec

from outlive._core import payloads
from outlive._core.authoring import Workflow
from outlive.cli.exits import Complaint
from outlive.errors import PayloadInvalid


def read_arguments(workflow: Workflow[..., Any], text: str | None) -> tuple[tuple[object, ...], dict[str, object]]:
    """Positional and keyword arguments: an array is the former, an object the latter, anything else one argument.

    Values become what the signature says (a dataclass, a ``datetime``) where it says so.

    Raises:
        Complaint: It is not JSON, or does not fit the signature.
    """
    args, kwargs = _read(text)
    try:
        bound = workflow.binder.bind(args, kwargs)
        hints = cast("dict[str, object]", typing.get_type_hints(workflow.fn))
    except TypeError as error:
        raise Complaint(f"the arguments do not fit {workflow.name}: {error}") from error
    except NameError:  # a hint that can't be looked up says nothing
        return args, kwargs
    fitted = {name: _fit(workflow, name, value, hints.get(name)) for name, value in bound.items()}
    return workflow.binder.spread(fitted)


def _read(text: str | None) -> tuple[tuple[object, ...], dict[str, object]]:
    if text is None:
        return (), {}
    if text.startswith("--"):
        raise Complaint(f"there is no option {text}; see: outlive run --help")
    try:
        value = cast("object", msgspec.json.decode(text))
    except msgspec.DecodeError as error:
        raise Complaint(
            f"ARGS is not JSON ({error}): an array holds positional arguments, an object keyword arguments; "
            f"a text is written with its quotes: '\"{text}\"'"
        ) from error
    match value:
        case list():
            return tuple(cast("list[object]", value)), {}
        case dict():
            return (), cast("dict[str, object]", value)
        case _:
            return (value,), {}


def _fit(workflow: Workflow[..., Any], name: str, value: object, hint: object) -> object:
    if hint is None:
        return value
    try:
        return payloads.fit(value, hint)
    except PayloadInvalid as error:
        if isinstance(error.__cause__, TypeError):  # a hint that nothing can be checked against
            return value
        raise Complaint(f"argument {name!r} of {workflow.name}: {error.__cause__}") from error
