"""Pages in a real browser: what a person would not want to see, on a screen and on a phone, by day and by night."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, sync_playwright

SCREENS = {"screen": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
# A number as a computer writes it, and one that is none.
ODD_NUMBER = re.compile(r"\b\d+(\.\d+)?e[+-]?\d+\b|\bnan\b", re.I)

# Texts of pictures that reach out of them, and whether the page is wider than its window.
PROBE = """() => {
  const cut = [...document.querySelectorAll("svg text")].filter((text) => {
    const picture = text.ownerSVGElement.getBoundingClientRect(), box = text.getBoundingClientRect();
    return box.left < picture.left - 1 || box.right > picture.right + 1
      || box.top < picture.top - 1 || box.bottom > picture.bottom + 1;
  }).map((text) => text.textContent);
  const shades = (name) => getComputedStyle(document.body)[name].match(/\\d+(\\.\\d+)?/g).map(Number);
  const marks = "circle, rect, polyline, path";
  const empty = [...document.querySelectorAll("svg")].filter((svg) => !svg.querySelector(marks));
  const hints = [...document.querySelectorAll("svg title")].map((title) => title.textContent);
  return {cut, wide: document.documentElement.scrollWidth, window: innerWidth, empty: empty.length,
    page: shades("backgroundColor"), ink: shades("color"), text: [document.body.innerText, ...hints].join("\\n"),
    viewport: document.querySelector("meta[name=viewport]") !== null};
}"""


@contextmanager
def browser() -> Iterator[Browser]:
    """The system's Chromium; the test is skipped where there is none."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("Chromium is not installed")
    with sync_playwright() as play:
        running = play.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield running
        finally:
            running.close()


def pictures() -> Path | None:
    """The folder for screenshots of every page; none are made where RINGSIDE_PICTURES does not name one."""
    named = os.environ.get("RINGSIDE_PICTURES")
    return Path(named) if named else None


def faults(running: Browser, html: str, folder: Path | None = None, name: str = "page") -> list[str]:
    """What is wrong with a page; with `folder`, a screenshot of each look goes there."""
    found: list[str] = []
    for screen, size in SCREENS.items():
        for scheme in SCHEMES:
            page = running.new_page(viewport=size, color_scheme=scheme)  # type: ignore[arg-type]
            said: list[str] = []
            page.on("console", lambda message, said=said: said.append(message.text))
            page.set_content(html)
            seen = page.evaluate(PROBE)
            if folder is not None:
                page.screenshot(path=folder / f"{name}-{screen}-{scheme}.png", full_page=True)
            page.close()
            found += [f"{name} on a {screen}, {scheme}: {fault}" for fault in [*_wrong(seen, scheme), *said]]
    return found


def _wrong(seen: dict[str, Any], scheme: str) -> Iterator[str]:
    if not seen["viewport"]:
        yield "no viewport is set"
    if seen["wide"] > seen["window"]:
        yield f"is {seen['wide']} wide in a window of {seen['window']}"
    if seen["cut"]:
        yield f"cuts {seen['cut'][:5]}"
    if seen["empty"]:
        yield "has an empty picture"
    dark = (sum(seen["page"][:3]) < 200 and seen["page"][3:4] != [0], sum(seen["ink"][:3]) > 500)
    if dark != ((True, True) if scheme == "dark" else (False, False)):
        yield f"is no {scheme} page: {seen['page']}, {seen['ink']}"
    odd = ODD_NUMBER.search(seen["text"])
    if odd:
        yield f"writes {odd[0]}"
