"""The reference pages are those that the code gives, and name everything that a user can set, scrape or read."""

from __future__ import annotations

import pytest

from docs.reference import FOLDER, PAGES
from record.events import KINDS
from record.metric_families import FAMILIES


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_fresh(name: str) -> None:
    """`make reference` writes what is committed."""
    assert (FOLDER / name).read_text(encoding="utf-8") == PAGES[name](), "run `make reference`"


def test_every_family_and_every_kind_of_event_is_listed() -> None:
    assert all(f"`{name}`" in PAGES["metrics.md"]() for name in FAMILIES)
    assert all(f"## `{kind}`" in PAGES["events.md"]() for kind in KINDS)


@pytest.mark.parametrize("name", PAGES)
def test_every_row_of_a_table_has_as_many_cells_as_its_head(name: str) -> None:
    width = 0
    for line in PAGES[name]().splitlines():
        cells = line.replace("\\|", "").count("|")
        if line.startswith("|--"):
            continue
        assert not (line.startswith("|") and width and cells != width), line
        width = cells if line.startswith("|") else 0


def test_every_key_says_what_it_is_for() -> None:
    """A key without a meaning is a gap in the page, and in every editor."""
    assert not [
        line for line in PAGES["settings.md"]().splitlines() if line.startswith("| `") and line.endswith("|  |")
    ]
