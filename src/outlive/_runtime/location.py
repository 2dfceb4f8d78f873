"""Where the default store is (R37)."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Final

log: Final = logging.getLogger("outlive")

FOLDER: Final = ".outlive"
FILE: Final = "outlive.db"
_PROJECT_FILES: Final = ("pyproject.toml", "setup.py", "setup.cfg", ".git")


def find_url() -> str | None:
    """``$OUTLIVE_URL``, else the nearest ``.outlive/`` upward from here."""
    url = os.environ.get("OUTLIVE_URL")
    if url:
        return url
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / FOLDER).is_dir():
            return f"sqlite:///{folder / FOLDER / FILE}"
    return None


def default_url(beside: Path | None = None) -> str:
    """What :func:`find_url` finds, else a new store beside the project file or the script.

    ``beside`` says where the script is, if it is not ``__main__``.
    """
    url = find_url()
    if url is not None:
        return url
    here = Path.cwd()
    home = _project(here) or beside or _script() or here
    folder = home / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    ignore = folder / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n")
    log.warning("created the default store %s", folder / FILE)
    return f"sqlite:///{folder / FILE}"


def _project(here: Path) -> Path | None:
    for folder in (here, *here.parents):
        if any((folder / name).exists() for name in _PROJECT_FILES):
            return folder
    return None


def _script() -> Path | None:
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    return Path(file).resolve().parent if file else None
