"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from cyclopts import Parameter

Url: TypeAlias = Annotated[
    str | None,
    Parameter(help="The store: sqlite:///file.db. Unset: $OUTLIVE_URL, else the nearest .outlive/ upward from here."),
]
AsJson: TypeAlias = Annotated[bool, Parameter(help="Print JSON, for programs.")]
