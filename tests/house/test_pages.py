"""The pages of the documentation hang together."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def targets(page: Path) -> set[Path]:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    return {(page.parent / link).resolve() for link in links if "://" not in link}


def test_the_index_leads_to_every_page() -> None:
    reached = {target for index in DOCS.rglob("index.md") for target in targets(index)}
    assert [str(page.relative_to(ROOT)) for page in DOCS.rglob("*.md") if page.resolve() not in reached] == [
        "docs/index.md"
    ]


def test_links_lead_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]
    assert [f"{page.name}: {target}" for page in pages for target in targets(page) if not target.exists()] == []


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = sorted(int(page.name[:4]) for page in (DOCS / "decisions").glob("[0-9]*.md"))
    assert numbers == list(range(1, len(numbers) + 1))


def test_fragments_say_of_what_kind_they_are() -> None:
    fragment = re.compile(r"\d+\.(feature|change|fix)(\.\d+)?\.md")
    assert [file.name for file in (ROOT / "changes").iterdir() if not fragment.fullmatch(file.name)] == []


def test_the_tour_names_files_that_exist() -> None:
    tour = (DOCS / "design.md").read_text()
    named = re.findall(
        r"`((?:_core|_codec|_runtime|model|stores|testing|cli|engine|handles|scripts|errors)[/.][\w./]*)`", tour
    )
    places = [ROOT / "src" / "outlive", ROOT]
    assert [name for name in named if not any((place / name).exists() for place in places)] == []
