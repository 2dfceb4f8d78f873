"""Each error has a page that says why it happens and what to do."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import outlive
from outlive.errors import OutliveError

PAGES = Path(__file__).parents[2] / "docs" / "errors"


def classes(top: type[OutliveError]) -> Iterator[type[OutliveError]]:
    yield top
    for below in top.__subclasses__():
        yield from classes(below)


def all_errors() -> list[type[OutliveError]]:
    for module in pkgutil.walk_packages(outlive.__path__, "outlive."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    return [error for error in classes(OutliveError) if error.__module__.startswith("outlive.")]


ERRORS = all_errors()


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.code)
def test_an_error_has_a_page_under_its_code(error: type[OutliveError]) -> None:
    page = (PAGES / f"{error.code}.md").read_text()
    assert page.startswith(f"# {error.__name__}\n")
    assert [heading for heading in ("## Why", "## What to do") if heading not in page] == []


def test_a_code_belongs_to_one_class() -> None:
    codes = [error.code for error in ERRORS]
    assert len(codes) == len(set(codes))


def test_no_page_is_left_over() -> None:
    assert {page.stem for page in PAGES.glob("*.md")} == {error.code for error in ERRORS} | {"index"}


def test_the_index_names_them_all() -> None:
    index = (PAGES / "index.md").read_text()
    assert [error.code for error in ERRORS if f"[`{error.__name__}`]({error.code}.md)" not in index] == []


def test_the_tree_in_the_module_names_them_all() -> None:
    tree = importlib.import_module("outlive.errors").__doc__ or ""
    assert [error.__name__ for error in ERRORS if error.__name__ not in tree] == []
