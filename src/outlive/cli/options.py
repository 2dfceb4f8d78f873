"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from cyclopts import Parameter

from outlive._core.texts import check_text
from outlive.cli.exits import Complaint

Url: TypeAlias = Annotated[
    str | None,
    Parameter(help="The store: sqlite:///file.db. Unset: $OUTLIVE_URL, else the nearest .outlive/ upward from here."),
]
AsJson: TypeAlias = Annotated[bool, Parameter(help="Print JSON, for programs.")]
BaseUrl: TypeAlias = Annotated[
    str | None,
    Parameter(
        help="Where the world finds the server: what the URLs of webhooks begin with, so the same for all who work on one store. "
        "Unset: $OUTLIVE_BASE_URL."
    ),
]
Transactions: TypeAlias = Annotated[
    str | None,
    Parameter(
        help="What begins the transactions of steps with transaction=True: shop.db:begin, called for each attempt."
    ),
]


def checked(text: str, what: str, *, most: int) -> str:
    """``text``, if it can be stored.

    Raises:
        Complaint: It can't.
    """
    try:
        return check_text(text, what, most=most)
    except ValueError as error:
        raise Complaint(str(error)) from error
