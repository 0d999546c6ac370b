"""Every alert fires when it should, keeps quiet when it should not, and says what to do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from dashboards.runbook import PAGE, render_runbook
from dashboards.runbook import SOURCE as OPERATIONS
from tests.dashboards.alert_cases import CASES, Case, Series
from tests.dashboards.promtool import DASHBOARDS, RULES, alerts, need, rules, run, seconds

URL = "https://prometheus.example"  # where people reach it
INTERVAL = 15  # seconds between samples, as prometheus.yml scrapes


def sections(page: Path) -> set[str]:
    """The names by which its headings can be linked to."""
    return set(re.findall(r'<h\d id="([^"]+)">', page.read_text()))


def test_every_alert_has_a_case() -> None:
    """Firing and quiet; a rule that nobody has tried is a rule that nobody can trust."""
    assert sorted(case.alert for case in CASES) == sorted(alerts())
    assert all(case.fires and case.quiet for case in CASES)


def check(case: Case, series: Series, *, fires: bool, at: str, folder: Path) -> None:
    rule = alerts()[case.alert]
    said = rule["annotations"] | {"runbook_url": f"{URL}/consoles/{PAGE.name}#{case.alert.lower()}"}
    expected: list[Mapping[str, Any]] = [
        {"exp_labels": {**rule["labels"], **case.labels}, "exp_annotations": {**said, **case.says}}
    ]
    tested = {"eval_time": at, "alertname": case.alert, "exp_alerts": expected if fires else []}
    held = {
        "rule_files": [str(RULES)],
        "evaluation_interval": f"{INTERVAL}s",
        "tests": [
            {
                "interval": f"{INTERVAL}s",
                "external_url": URL,
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "alert_rule_test": [tested],
            }
        ],
    }
    file = folder / "case.yml"
    file.write_text(yaml.safe_dump(held))
    run(need("promtool"), "test", "rules", str(file))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert)
def test_the_alert_fires_and_says_so(case: Case, tmp_path: Path) -> None:
    check(case, case.fires, fires=True, at=case.at, folder=tmp_path)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert)
def test_the_alert_keeps_quiet(case: Case, tmp_path: Path) -> None:
    """On harmless values; and on the harmful ones until they have lasted for as long as the rule says."""
    for series in case.quiet:
        check(case, series, fires=False, at=case.at, folder=tmp_path)
    lasting = seconds(alerts()[case.alert]["for"])
    if lasting:
        check(case, case.fires, fires=False, at=f"{lasting - INTERVAL}s", folder=tmp_path)


def test_every_alert_says_how_bad_it_is_and_what_to_do() -> None:
    """A severity, a time that it must last, what it means, and a section of the page for operators."""
    for name, rule in alerts().items():
        assert rule["labels"]["severity"] in ("critical", "warning", "info"), name
        assert "for" in rule, name
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}, name
    assert {name.lower() for name in alerts()} <= sections(PAGE)


def test_the_page_for_operators_that_prometheus_serves_is_fresh() -> None:
    """`make boards` writes what is committed; every link on it leads to one of its sections."""
    assert PAGE.read_text() == render_runbook(OPERATIONS.read_text())
    links = re.findall(r'href="([^"]*)"', PAGE.read_text())
    assert links
    assert {link.removeprefix("#") for link in links} <= sections(PAGE)


def test_the_page_is_a_template_and_shows_braces_all_the_same() -> None:
    page = render_runbook("# Uses `{{ $labels }}`\n\n[there](there.md), [here](#uses--labels-)\n")
    assert '>Uses <code>{{"{{"}} $labels }}</code></h1>' in page
    assert '<p>there, <a href="#uses--labels-">here</a></p>' in page


def test_the_page_for_operators_describes_no_alert_that_is_gone() -> None:
    described = set(re.findall(r"^### (Ringside\w+)$", OPERATIONS.read_text(), re.MULTILINE))
    assert described == set(alerts())


def test_only_alerts_that_mean_it_ask_for_a_retrain() -> None:
    """A new model helps against age, decline and a changed world, not against latency or a silent watcher."""
    asking = {name for name, rule in alerts().items() if rule["labels"].get("action") == "retrain"}
    assert asking == {"RingsideQualityDeclined", "RingsideConceptDrift", "RingsideModelStale"}


def test_every_recorded_query_is_used() -> None:
    boards = " ".join(file.read_text() for file in (DASHBOARDS / "grafana" / "boards").glob("*.json"))
    uses = boards + " ".join(rule["expr"] for rule in rules())
    assert [rule["record"] for rule in rules() if "record" in rule and rule["record"] not in uses] == []


def test_promtool_accepts_the_rules_and_the_scrape_configuration(tmp_path: Path) -> None:
    promtool = need("promtool")
    run(promtool, "check", "rules", str(RULES))
    token = tmp_path / "token"
    token.write_text("secret")
    configuration = (DASHBOARDS / "prometheus" / "prometheus.yml").read_text()
    (tmp_path / "rules.yml").write_text(RULES.read_text())
    (tmp_path / "prometheus.yml").write_text(configuration.replace("/etc/ringside/tokens/prometheus", str(token)))
    run(promtool, "check", "config", str(tmp_path / "prometheus.yml"))


def test_amtool_accepts_the_alertmanager_configuration() -> None:
    run(need("amtool"), "check-config", str(DASHBOARDS / "alertmanager" / "alertmanager.yml"))
