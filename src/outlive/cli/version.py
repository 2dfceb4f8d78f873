"""``outlive version``."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed

from outlive.cli.options import AsJson
from outlive.cli.output import print_json


def version(*, json: AsJson = False) -> None:
    """What is installed: Outlive, Python, SQLite."""
    if json:
        print_json(versions())
    else:
        print(version_line())


def version_line() -> str:
    return ", ".join(f"{name} {number}" for name, number in versions().items())


def versions() -> dict[str, str]:
    """Of what decides how runs are kept."""
    import apsw

    try:
        ours = installed("outlive")
    except PackageNotFoundError:  # used from a source tree that was never installed
        ours = "unknown"
    return {"outlive": ours, "python": platform.python_version(), "sqlite": apsw.sqlite_lib_version()}
