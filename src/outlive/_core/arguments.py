"""Arguments of a workflow that come from outside: they become what its signature says."""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from typing import Any, cast

from outlive._core import payloads
from outlive._core.authoring import Workflow
from outlive.errors import PayloadInvalid


def fit(
    workflow: Workflow[..., Any], args: Sequence[object], kwargs: Mapping[str, object]
) -> tuple[tuple[object, ...], dict[str, object]]:
    """Values of JSON as the types (a dataclass, a ``datetime``) that the signature names, where it names them.

    Raises:
        PayloadInvalid: They do not fit.
    """
    try:
        bound = workflow.binder.bind(tuple(args), dict(kwargs))
        hints = cast("dict[str, object]", typing.get_type_hints(workflow.fn))
    except TypeError as error:
        raise PayloadInvalid(f"the arguments do not fit {workflow.name}: {error}") from error
    except NameError:  # a hint that can't be looked up says nothing
        return tuple(args), dict(kwargs)
    fitted = {name: _fit(workflow, name, value, hints.get(name)) for name, value in bound.items()}
    return workflow.binder.spread(fitted)


def _fit(workflow: Workflow[..., Any], name: str, value: object, hint: object) -> object:
    if hint is None:
        return value
    try:
        return payloads.fit(value, hint)
    except PayloadInvalid as error:
        if isinstance(error.__cause__, TypeError):  # a hint that nothing can be checked against
            return value
        raise PayloadInvalid(f"argument {name!r} of {workflow.name}: {error.__cause__}") from error
