"""Boards and rules name only metrics and labels that the code has, and Prometheus can read their queries."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from record.metric_families import FAMILIES
from tests.dashboards.promtool import need, rules, run
from tests.dashboards.queries import all_queries, annotation_queries, filled, panel_queries

SERIES = {"counter": ("",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count"), "summary": ("",)}
# Labels that Prometheus itself, or a histogram, adds to a family's own.
ADDED = {"job", "instance", "le"}


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
    known, recorded = known_series(), {rule["record"] for rule in rules() if "record" in rule}
    named = [(where, series) for where, query in all_queries() for series in re.findall(r"\bringside[_:][\w:]+", query)]
    assert [held for held in named if held[1] not in known and held[1] not in recorded] == []


def test_every_query_names_labels_that_the_series_has() -> None:
    known = known_series()
    wrong = [
        f"{where}: {series}{{{label}}}"
        for where, query in all_queries()
        for series, label in labels_named(query)
        if label not in known[series]
    ]
    for where, query in all_queries():
        has = set().union(*(known[series] for series in re.findall(r"ringside_\w+", query)))
        wrong += [f"{where}: by ({label})" for label in groups_named(query) - has if "ringside_" in query]
    assert wrong == []


def test_every_metric_has_a_panel_or_a_rule() -> None:
    """What nobody looks at is not worth exporting."""
    named = " ".join(query for _, query in all_queries())
    assert [name for name in FAMILIES if name not in named] == []


def test_what_the_record_knows_is_never_summed_over_replicas() -> None:
    """Each replica tells the same: `sum` would multiply it by their number."""
    shared = [family.name for family in FAMILIES.values() if family.source != "worker"]
    wrong = [
        (where, name)
        for where, query in all_queries()
        for name in shared
        if re.search(rf"sum(?: by \([^)]*\))? ?\((?:rate|increase)?\(?{name}", query)
    ]
    assert wrong == []


def test_promtool_parses_every_query_of_the_boards(tmp_path: Path) -> None:
    """Grafana does not check a query before it is looked at; a recording rule is checked."""
    queries = [query for _, query in (*panel_queries(), *annotation_queries())]
    held = [{"record": f"panel:{place}", "expr": filled(query)} for place, query in enumerate(queries)]
    (tmp_path / "boards.yml").write_text(yaml.safe_dump({"groups": [{"name": "boards", "rules": held}]}))
    run(need("promtool"), "check", "rules", str(tmp_path / "boards.yml"))
