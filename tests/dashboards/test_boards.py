"""Every panel says what it shows, in which unit, from where on it is bad, and where to read on."""

from __future__ import annotations

import re
from typing import Any

import pytest

from dashboards.board import board_json
from dashboards.build import BOARDS as MADE
from dashboards.build import FOLDER
from record.events import KINDS
from service.http.routes import RULES as ROUTES
from tests.dashboards.promtool import alerts
from tests.dashboards.queries import BOARDS, panels

# Rates, counts and scores of which no value is good or bad in itself.
NEUTRAL_UNITS = {"reqps", "short", "none"}


def test_the_boards_are_fresh() -> None:
    """`make boards` writes what is committed, and nothing else lies there."""
    assert {file.name: file.read_text() for file in FOLDER.iterdir()} == {
        f"{board.name}.json": board_json(board) for board in MADE
    }


def test_there_is_a_board_for_serving_for_drift_and_quality_for_the_bout_and_for_governance() -> None:
    assert set(BOARDS) == {
        "ringside-serving",
        "ringside-drift-quality",
        "ringside-bout",
        "ringside-governance",
    }
    assert all(board["uid"] == name and board["description"] for name, board in BOARDS.items())


@pytest.mark.parametrize("panel", [pytest.param(panel, id=where) for where, panel in panels()])
def test_the_panel_is_complete(panel: dict[str, Any]) -> None:
    """A title, a sentence of description, a unit, coloured steps, queries with ids, a link into the service."""
    shown = panel["fieldConfig"]["defaults"]
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert shown["unit"]
    steps = shown["thresholds"]["steps"]
    assert steps[0]["value"] is None
    values = [step["value"] for step in steps[1:]]
    assert values == sorted(values)
    assert values or shown["unit"] in NEUTRAL_UNITS, "nothing says from where on this is bad"
    assert [target["refId"] for target in panel["targets"]] == list("ABCDEFG"[: len(panel["targets"])])
    assert all(target["expr"] and target["legendFormat"] for target in panel["targets"])
    assert panel["links"]
    for link in panel["links"] + shown.get("links", []):
        check_link(link["url"])


def check_link(url: str) -> None:
    """It leads to a route that people may read, and asks for kinds of events that there are."""
    path, _, query = url.removeprefix("${ringside}").partition("?")
    assert path != url, "links go to where the board's variable says the service is"
    path = path.replace("${__field.labels.model_version}", "{version}")
    assert ("GET", path) in {(rule.method, rule.path) for rule in ROUTES}, path
    kinds = re.search(r"kind=([\w,]+)", query)
    assert kinds is None or set(kinds[1].split(",")) <= set(KINDS)


def test_red_begins_where_the_alert_fires() -> None:
    """Where a rule has a limit of its own, the panel that names it has the same."""
    wrong = []
    for where, panel in panels():
        named = re.search(r"Alert: (\w+)\.", panel["description"])
        if named is None:
            continue
        expression = alerts()[named[1]]["expr"]
        limit = re.search(r"(?:>=?|<) ([\d.]+)(?: \* 86400)?", expression)
        steps = [step["value"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"][1:]]
        if limit is None or limit[1] == "0" or not steps:
            continue
        value = float(limit[1]) * (86_400 if "* 86400" in expression else 1)
        share = 1 - value if panel["fieldConfig"]["defaults"]["unit"] == "percentunit" else value
        if not any(abs(step - value) < 1e-9 or abs(step - share) < 1e-9 for step in steps):
            wrong.append((where, value, steps))
    assert wrong == []


def test_every_alert_has_a_panel() -> None:
    """Whoever is woken finds the number on a board; for a thing that is gone there is nothing to draw."""
    named = {name for _, panel in panels() for name in re.findall(r"Alert: (\w+)\.", panel["description"])}
    assert set(alerts()) - named == {"RingsideWatcherMissing"}
    assert named <= set(alerts())


def test_panels_do_not_overlap_and_have_ids_of_their_own() -> None:
    for name, board in BOARDS.items():
        identifiers = [panel["id"] for panel in board["panels"]]
        assert len(identifiers) == len(set(identifiers)), name
        taken: set[tuple[int, int]] = set()
        for panel in board["panels"]:
            place = panel["gridPos"]
            x, y = place.get("x", 0), place.get("y", 0)
            cells = {(x + dx, y + dy) for dx in range(place["w"]) for dy in range(place["h"])}
            assert not taken & cells, f"{name}: {panel['title']}"
            assert x + place["w"] <= 24
            taken |= cells


def test_every_board_has_the_variables_the_marks_and_the_way_to_the_others() -> None:
    for name, board in BOARDS.items():
        variables = [variable["name"] for variable in board["templating"]["list"]]
        assert variables[:3] == ["source", "ringside", "version"], name
        assert [mark["name"] for mark in board["annotations"]["list"]] == ["Promoted", "Rolled back", "Retrain"]
        assert {link["type"] for link in board["links"]} == {"dashboards", "link"}


def test_every_variable_is_used() -> None:
    for name, board in BOARDS.items():
        text = (FOLDER / f"{name}.json").read_text()
        chosen = [held["name"] for held in board["templating"]["list"] if held["type"] == "query"]
        unused = [held for held in chosen if f"${held}" not in text]
        assert unused in ([], ["version"]), name


# What a title may not be made of: words that no one in the field looks for.
FOREIGN_TITLE = re.compile(
    r"worth a look|told apart|or not now|waited for|behind in|how .* ended|slowest in|reach of", re.I
)
UNITS = {"none", "short", "s", "bytes", "percentunit", "reqps", "ops", "bool_yes_no"}


def test_titles_say_what_is_measured_in_the_fields_terms() -> None:
    """Each once on its board, short, and not a sentence."""
    for name, board in BOARDS.items():
        titles = [panel["title"] for panel in board["panels"] if panel["type"] != "row"]
        assert len(set(titles)) == len(titles), name
        wrong = [title for title in titles if FOREIGN_TITLE.search(title) or len(title) > 36 or title.endswith(".")]
        assert wrong == [], name


@pytest.mark.parametrize("panel", [pytest.param(panel, id=where) for where, panel in panels()])
def test_units_are_those_of_the_queries(panel: dict[str, Any]) -> None:
    """Seconds are shown as time, rates as rates, shares as percent, and nothing else is."""
    unit = panel["fieldConfig"]["defaults"]["unit"]
    assert unit in UNITS
    for target in panel["targets"]:
        query = target["expr"]
        rate = re.search(r"(?<!o_)\brate\(", query) is not None
        quantile = "histogram_quantile" in query
        seconds = ("_seconds" in query and (quantile or not rate)) or ":seconds" in query
        size = len(re.findall(r"_bytes\b", query))
        shares = "coverage" in query or "ratio_rate" in query or size == 2
        shares = shares or (rate and "/" in query and not quantile)
        wanted = "s" if seconds else "percentunit" if shares else "bytes" if size else None
        if wanted is None and rate and not quantile:
            assert unit in ("reqps", "ops"), query
        else:
            assert unit == wanted or (wanted is None and unit not in ("s", "bytes", "percentunit", "reqps", "ops")), (
                query
            )


def test_evidence_without_a_bound_does_not_flatten_its_panel() -> None:
    """A gap of 5e9 stands at the panel's upper edge, and the other lines keep their shape."""
    (panel,) = [panel for where, panel in panels() if where.endswith(": Observed vs. estimated loss")]
    assert panel["fieldConfig"]["defaults"]["custom"]["scaleDistribution"] == {"type": "log", "log": 10}
    assert panel["targets"][0]["expr"] == "clamp(max(ringside_quality_gap_evidence), 0.01, 100)"
