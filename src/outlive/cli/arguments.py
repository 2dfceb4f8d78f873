"""Arguments of a workflow, given as JSON."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from outlive._core import arguments
from outlive._core.authoring import Workflow
from outlive.cli.exits import Complaint
from outlive.errors import PayloadInvalid


def read_arguments(workflow: Workflow[..., Any], text: str | None) -> tuple[tuple[object, ...], dict[str, object]]:
    """Positional and keyword arguments: an array is the former, an object the latter, anything else one argument.

    Raises:
        Complaint: It is not JSON, or does not fit the signature.
    """
    try:
        return arguments.fit(workflow, *_read(text))
    except PayloadInvalid as error:
        raise Complaint(str(error)) from error


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
