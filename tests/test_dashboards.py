"""Boards and rules name only metrics and labels that the code has, and the stack's own tools accept them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dashboards.build import board_json
from service.families import FAMILIES

DASHBOARDS = Path(__file__).parent.parent / "dashboards"
BOARD = DASHBOARDS / "grafana" / "boards" / "ringside.json"
RULES = DASHBOARDS / "prometheus" / "rules.yml"
SERIES = {"counter": ("",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
# Labels that Prometheus itself, or a histogram, adds to a family's own.
ADDED = {"job", "instance", "le"}


def need(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed (Debian: prometheus, prometheus-alertmanager)")
    return found


def panels() -> list[dict[str, Any]]:
    return [panel for panel in json.loads(BOARD.read_text())["panels"] if panel["type"] != "row"]


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def expressions() -> Iterator[tuple[str, str]]:
    """Every query of the board and of the rules, with where it stands."""
    board = json.loads(BOARD.read_text())
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for annotation in board["annotations"]["list"]:
        if "expr" in annotation:
            yield annotation["name"], annotation["expr"]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["query"]
    for rule in rules():
        yield rule["alert"], rule["expr"]


def known_series() -> dict[str, set[str]]:
    return {
        family.name + suffix: {*family.labels, *ADDED} for family in FAMILIES.values() for suffix in SERIES[family.kind]
    }


def labels_named(expression: str) -> Iterator[tuple[str, str]]:
    """(series, label) for each label that a selector matches on."""
    for series, selector in re.findall(r"(ringside_\w+)\{([^}]*)\}", expression):
        for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", re.sub(r'"[^"]*"', '""', selector)):
            yield series, label


def groups_named(expression: str) -> set[str]:
    return {label.strip() for group in re.findall(r"by \(([^)]*)\)", expression) for label in group.split(",")}


def test_every_query_names_series_that_exist() -> None:
    """A metric renamed in the code shows here, not as an empty panel."""
    known = known_series()
    wrong = [
        f"{where}: {series}"
        for where, expression in expressions()
        for series in re.findall(r"ringside_\w+", expression)
        if series not in known
    ]
    assert wrong == []


def test_every_query_names_labels_that_the_series_has() -> None:
    known = known_series()
    wrong = [
        f"{where}: {series}{{{label}}}"
        for where, expression in expressions()
        for series, label in labels_named(expression)
        if label not in known[series]
    ]
    for where, expression in expressions():
        has = set().union(*(known[series] for series in re.findall(r"ringside_\w+", expression)))
        wrong += [f"{where}: by ({label})" for label in groups_named(expression) - has if "ringside_" in expression]
    assert wrong == []


def test_every_metric_has_a_panel_or_a_rule() -> None:
    """What nobody looks at is not worth exporting."""
    named = " ".join(expression for _, expression in expressions())
    assert [name for name in FAMILIES if name not in named] == []


def test_what_the_record_knows_is_never_summed_over_replicas() -> None:
    """Each replica tells the same: `sum` would multiply it by their number."""
    shared = [family.name for family in FAMILIES.values() if family.source != "worker"]
    wrong = [
        (where, name)
        for where, expression in expressions()
        for name in shared
        if re.search(rf"sum(?: by \([^)]*\))? ?\((?:rate|increase)?\(?{name}", expression)
    ]
    assert wrong == []


def test_every_panel_has_a_title_a_description_and_a_unit() -> None:
    wrong = [
        panel["id"]
        for panel in panels()
        if not (panel["title"] and panel["description"] and panel["fieldConfig"]["defaults"]["unit"])
    ]
    assert wrong == []
    identifiers = [panel["id"] for panel in json.loads(BOARD.read_text())["panels"]]
    assert len(identifiers) == len(set(identifiers))


def test_the_board_is_fresh() -> None:
    """`make boards` writes what is committed."""
    assert BOARD.read_text() == board_json()


def test_only_alerts_that_mean_it_ask_for_a_retrain() -> None:
    """A new model helps against age and decline, not against latency or a silent watcher."""
    asking = {rule["alert"] for rule in rules() if rule["labels"].get("action") == "retrain"}
    assert asking == {"RingsideQualityDeclined", "RingsideModelStale"}


def test_every_alert_says_what_it_means() -> None:
    wrong = [rule["alert"] for rule in rules() if not {"summary", "description"} <= rule["annotations"].keys()]
    assert wrong == []


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_accepts_the_rules_and_the_scrape_configuration(tmp_path: Path) -> None:
    promtool = need("promtool")
    run(promtool, "check", "rules", str(RULES))
    token = tmp_path / "token"
    token.write_text("secret")
    configuration = (DASHBOARDS / "prometheus" / "prometheus.yml").read_text()
    (tmp_path / "rules.yml").write_text(RULES.read_text())
    (tmp_path / "prometheus.yml").write_text(configuration.replace("/etc/ringside/tokens/read", str(token)))
    run(promtool, "check", "config", str(tmp_path / "prometheus.yml"))


def test_promtool_parses_every_query_of_the_board(tmp_path: Path) -> None:
    """Grafana does not check a query before it is looked at; a recording rule is checked."""
    promtool = need("promtool")
    queries = [target["expr"] for panel in panels() for target in panel["targets"]]
    held = [
        {
            "record": f"panel:{place}",
            "expr": re.sub(r"\$__rate_interval|\$__interval", "5m", query).replace("$version", ".*"),
        }
        for place, query in enumerate(queries)
    ]
    (tmp_path / "board.yml").write_text(yaml.safe_dump({"groups": [{"name": "board", "rules": held}]}))
    run(promtool, "check", "rules", str(tmp_path / "board.yml"))


def test_amtool_accepts_the_alertmanager_configuration() -> None:
    run(need("amtool"), "check-config", str(DASHBOARDS / "alertmanager" / "alertmanager.yml"))
