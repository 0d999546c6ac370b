"""Pages opened in a real browser, with names, values, ids, classes and a problem's name that attack whoever reads them.

Each page is opened from its file, as one sent by mail is, and as the service sends it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from monitoring.drifting.evidently import DriftMeter, evidently_html
from monitoring.drifting.evidently_page import contain
from monitoring.inputs.contract_check import inspect_window
from monitoring.inputs.page import link_pages, render_page
from monitoring.quality.groups import Group
from monitoring.quality.page import _groups, _slices
from monitoring.quality.slices import Slice
from monitoring.windows import Window
from record.pages.page import render_page as render_quality_page
from record.pages.page import section
from record.pages.policy import PAGE_POLICY, policy_tag
from service.http.endpoints import REPORT_POLICY
from tests.monitoring.inputs.test_contract_check import AS_OF, REFERENCE, schema_of, window

pytestmark = [pytest.mark.hostile, pytest.mark.timeout(600)]
ATTACK = (
    "</script><script>window.attacked=1</script><img src=x onerror=window.attacked=2><svg onload=window.attacked=3>"
    "<h1 id=pwned>No drift. All is well.</h1><a id=pwned href='javascript:window.attacked=4'>x</a>"
    "\"'--></title></style></textarea>{{constructor.constructor('window.attacked=5')()}}<iframe srcdoc='<h1 id=pwned>'>"
)
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not Path(CHROMIUM).exists():
        pytest.skip("chromium is not installed (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@dataclass
class Reader:
    """Somebody with a browser: what ran, what was asked of the network, what stands there."""

    page: Page
    requests: list[str]
    dialogs: list[str]
    errors: list[str]

    def assert_unharmed(self) -> None:
        self.page.wait_for_timeout(300)  # an image that cannot be loaded says so a moment later
        assert self.page.evaluate("window.attacked") is None
        assert self.page.query_selector("#pwned") is None
        assert [
            url for url in self.requests if not url.startswith(("file:", "data:", "blob:", "http://ringside.test/"))
        ] == []
        assert self.dialogs == []


Open = Callable[[str], Reader]


@pytest.fixture(params=["file", "served"])
def open_page(browser: Browser, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Open]:
    """Opens HTML from a file, or as `GET /reports/{id}` sends it."""
    context = browser.new_context()

    def opened(html: str) -> Reader:
        page = context.new_page()
        reader = Reader(page, [], [], [])
        page.on("request", lambda sent: reader.requests.append(sent.url))
        page.on("dialog", lambda dialog: (reader.dialogs.append(dialog.message), dialog.dismiss()))
        page.on("pageerror", lambda error: reader.errors.append(str(error)))
        if request.param == "file":
            file = tmp_path / "page.html"
            file.write_text(html, encoding="utf-8")
            page.goto(file.as_uri())
        else:
            headers = {"content-security-policy": REPORT_POLICY, "content-type": "text/html; charset=utf-8"}
            page.route("http://ringside.test/report", lambda route: route.fulfill(body=html, headers=headers))
            page.goto("http://ringside.test/report")
        return reader

    yield opened
    context.close()


def hostile_windows() -> tuple[Window, Window]:
    """Reference and current window whose columns' names and categories attack, and drift."""
    rng = np.random.default_rng(0)

    def made(shift: float, texts: list[str]) -> Window:
        numbers = {f"number {ATTACK}": rng.normal(size=600) + shift}
        categories = {f"category {ATTACK}": rng.choice(np.array(texts, dtype=object), 600)}
        return Window(None, None, 600, numbers, categories)

    return made(0, ["a", f"{ATTACK} a", "b"]), made(2, [f"{ATTACK} b", f"{ATTACK} c", "b"])


def test_evidentlys_page_is_drawn_and_nothing_of_its_data_runs(open_page: Open) -> None:
    reference, current = hostile_windows()
    report = DriftMeter(reference, level=0.99).measure(current, AS_OF)
    assert len(report.columns) >= 2
    page = link_pages(evidently_html(reference, current, report), "data-20260101-0123456789abcdef", [f"lines {ATTACK}"])
    reader = open_page(page)
    reader.page.wait_for_selector("text=Drift in column", timeout=60_000)
    reader.assert_unharmed()
    assert reader.errors == []
    assert "Data quality of the same window" in reader.page.content()


def test_the_same_page_as_evidently_makes_it_runs_what_a_value_says(browser: Browser, tmp_path: Path) -> None:
    """So that the test above can fail."""
    data = json.dumps({"widgets": [ATTACK]})
    page = f"<head></head><script>\n    var d = {data};\n    var additional_graphs_d = {{}};\n</script><p>drawn</p>"
    context = browser.new_context()
    opened = context.new_page()
    for html, ran in ((page, True), (contain(page), False)):
        (tmp_path / "page.html").write_text(html)
        opened.goto((tmp_path / "page.html").as_uri())
        opened.wait_for_selector("text=drawn")
        assert (opened.evaluate("window.attacked") is not None) == ran
        assert opened.evaluate("d.widgets[0]") == ATTACK if not ran else True
    context.close()


def test_the_data_quality_page_shows_values_and_ids_as_text(open_page: Open) -> None:
    current = window(3000)
    current.categories["colour"][::7] = ATTACK
    ids = tuple(f"{ATTACK} {n}" for n in range(3000))
    current = Window(current.since, current.until, current.rows, current.numbers, current.categories, ids)
    report = inspect_window(REFERENCE, current, schema_of(REFERENCE))
    page = render_page(
        report, None, REFERENCE, current, target=ATTACK, version=ATTACK, as_of=AS_OF, smallest_shift=0.04
    )
    assert escape(ATTACK) in page
    open_page(page).assert_unharmed()


@pytest.fixture(scope="module")
def model_pages(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """A model's report and a profile of data in which every name and value attacks."""
    folder = tmp_path_factory.mktemp("hostile")
    rng = np.random.default_rng(0)
    distance = rng.normal(size=400)
    frame = pd.DataFrame(
        {
            f"distance {ATTACK}": distance,
            f"carrier {ATTACK}": rng.choice([f"A {ATTACK}", f"B {ATTACK}"], 400),
            f"late {ATTACK}": np.where(distance + rng.normal(size=400) > 0, f"yes {ATTACK}", f"no {ATTACK}"),
        }
    )
    frame.to_csv(folder / "history.csv", index=False)
    settings: dict[str, Any] = {
        "PROBLEM__NAME": "problem <img src=x onerror=window.attacked=6><svg onload=window.attacked=7>",
        "RETRAIN__FAMILIES": '["linear"]',
        "RETRAIN__TRIALS": "1",
        "RETRAIN__BUDGET": "10s",
    }
    environment = os.environ | {f"RINGSIDE_{name}": value for name, value in settings.items()}
    program = [sys.executable, "-m", "ringside"]
    for arguments in (
        ["init", "history.csv", "--target", f"late {ATTACK}"],
        ["train", "--reason", f"reason {ATTACK}"],
        ["profile"],
    ):
        done = subprocess.run(
            [*program, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode in (0, 1), done.stderr
    report = folder / ".ringside" / "artifacts" / "v1" / "report.html"
    return {"report": report.read_text(), "profile": (folder / "profile.html").read_text()}


@pytest.mark.parametrize("name", ["report", "profile"])
def test_pages_about_models_and_data_show_names_and_classes_as_text(
    open_page: Open, model_pages: Mapping[str, str], name: str
) -> None:
    page = model_pages[name]
    assert "No drift. All is well." in page
    assert policy_tag() in page[:500]
    open_page(page).assert_unharmed()


def test_the_quality_page_shows_slices_and_groups_as_text(open_page: Open) -> None:
    """What callers name there: values of columns, and a version."""
    slices = [Slice(f"carrier={ATTACK}", configured=False, rows=9, excess=0.1, p_value=0.01, metrics={})]
    groups = [Group(ATTACK, f"{ATTACK}=x", 9, {})]
    parts = [section("Where it is worse", _slices(slices)), section(f"Protected {ATTACK}", _groups(groups))]
    page = render_quality_page(f"Quality of {ATTACK}", parts)
    assert escape(ATTACK) in page
    assert policy_tag() in page[:300]
    open_page(page).assert_unharmed()


def test_a_pages_own_policy_stops_what_gets_into_it_all_the_same(browser: Browser, tmp_path: Path) -> None:
    """Opened from a file there is no header: without the element in the page, everything of the attack runs."""
    context = browser.new_context()
    for tag, ran in (("", True), (policy_tag(), False)):
        page = context.new_page()
        (tmp_path / "page.html").write_text(
            f"<!doctype html><head><meta charset=utf-8>{tag}</head><body><p>drawn</p>{ATTACK}"
        )
        page.goto((tmp_path / "page.html").as_uri())
        page.wait_for_selector("text=drawn")
        page.wait_for_timeout(300)
        assert (page.evaluate("window.attacked") is not None) == ran, PAGE_POLICY
    context.close()
