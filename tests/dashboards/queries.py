"""Every query of the boards and of the rules, with where it stands."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from tests.dashboards.promtool import DASHBOARDS, rules

FILES = sorted((DASHBOARDS / "grafana" / "boards").glob("*.json"))
BOARDS: dict[str, dict[str, Any]] = {file.stem: json.loads(file.read_text()) for file in FILES}


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    """All but the rows' titles, with "board: panel"."""
    for name, board in BOARDS.items():
        for panel in board["panels"]:
            if panel["type"] != "row":
                yield f"{name}: {panel['title']}", panel


def panel_queries() -> Iterator[tuple[str, str]]:
    for where, panel in panels():
        for target in panel["targets"]:
            yield where, target["expr"]


def annotation_queries() -> Iterator[tuple[str, str]]:
    for name, board in BOARDS.items():
        for annotation in board["annotations"]["list"]:
            yield f"{name}: {annotation['name']}", annotation["expr"]


def variable_queries() -> Iterator[tuple[str, str]]:
    for name, board in BOARDS.items():
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                yield f"{name}: {variable['name']}", variable["query"]


def rule_queries() -> Iterator[tuple[str, str]]:
    for rule in rules():
        yield rule.get("alert") or rule["record"], rule["expr"]


def all_queries() -> Iterator[tuple[str, str]]:
    yield from panel_queries()
    yield from annotation_queries()
    yield from variable_queries()
    yield from rule_queries()


def filled(query: str, interval: str = "5m") -> str:
    """As Grafana sends it: variables replaced, all values chosen."""
    return re.sub(r"\$(version|feature|metric)\b", ".*", re.sub(r"\$__(rate_)?interval", interval, query))
