"""A board: rows of panels, the variables that choose what they show, and marks where the champion changed.

What the record knows is the same on every replica's scrape, so that panels take its `max`, never its `sum`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DashboardLinkType, GridPos, VariableRefresh

from dashboards.panel import SERVICE, SOURCE, Panel, render

COLUMNS: Final = 24  # Grafana's grid
TAG: Final = "ringside"


@dataclass(frozen=True, slots=True)
class Row:
    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """A variable: the values that a label has, some or all of which are shown."""

    name: str
    label: str
    series: str
    of: str


@dataclass(frozen=True, slots=True)
class Mark:
    """An annotation: drawn where the count of such events rose."""

    name: str
    color: str
    kind: str

    @property
    def expression(self) -> str:
        """Who is champion from then on. A difference, since `changes` does not see across the edge of its window."""
        count = f'ringside_audit_events_total{{kind="{self.kind}"}}'
        rose = f"max({count}) - max({count} offset $__interval) > 0"
        return f"max by (model_version) (ringside_champion_info) and on () ({rose})"


@dataclass(frozen=True, slots=True)
class Board:
    name: str  # of the file, and of the board in links
    title: str
    description: str
    rows: tuple[Row, ...]
    choices: tuple[Choice, ...] = ()


VERSION: Final = Choice("version", "Model version", "ringside_predictions_total", "model_version")
MARKS: Final = (
    Mark("Promoted", "green", "model_promoted"),
    Mark("Rolled back", "red", "model_rolled_back"),
    Mark("Retrain", "blue", "retrain_started"),
)


def board_json(board: Board) -> str:
    """What Grafana reads."""
    return JSONEncoder(sort_keys=True, indent=1).encode(_built(board).build()) + "\n"


def _built(board: Board) -> dashboard.Dashboard:
    built = (
        dashboard.Dashboard(board.title)
        .uid(board.name)
        .description(board.description)
        .tags([TAG])
        .time("now-6h", "now")
        .refresh("30s")
        .timezone("browser")
        .with_variable(dashboard.DatasourceVariable("source").label("Prometheus").type("prometheus"))
        .with_variable(
            dashboard.TextBoxVariable("ringside")
            .label("Ringside")
            .description("Where your browser reaches the service; links lead there.")
            .default_value("http://localhost:3000")
        )
    )
    for choice in (VERSION, *board.choices):
        built = built.with_variable(_variable(choice))
    for mark in MARKS:
        built = built.annotation(_annotation(mark))
    others = dashboard.DashboardLink("Boards").type(DashboardLinkType.DASHBOARDS).tags([TAG]).as_dropdown(True)
    built = built.link(others.keep_time(True).include_vars(True))
    status = dashboard.DashboardLink("Status").type(DashboardLinkType.LINK).url(f"{SERVICE}/status")
    return _with_rows(built.link(status.target_blank(True)), board.rows)


def _with_rows(built: dashboard.Dashboard, rows: Sequence[Row]) -> dashboard.Dashboard:
    identifier, y = 1, 0
    for row in rows:
        built = built.with_row(dashboard.Row(row.title).grid_pos(GridPos(h=1, w=COLUMNS, x=0, y=y)).id(identifier))
        identifier, y = identifier + 1, y + 1
        for panel, position in zip(row.panels, positions(row.panels, y), strict=True):
            built = built.with_panel(render(panel, identifier, position))
            identifier, y = identifier + 1, max(y, position.y + position.h)
    return built


def positions(panels: Sequence[Panel], top: int = 0) -> list[GridPos]:
    """Left to right, then down; a line is as high as its highest panel."""
    found: list[GridPos] = []
    x, y, line = 0, top, 0
    for panel in panels:
        if x + panel.width > COLUMNS:
            x, y, line = 0, y + line, 0
        found.append(GridPos(h=panel.height, w=panel.width, x=x, y=y))
        x, line = x + panel.width, max(line, panel.height)
    return found


def _variable(choice: Choice) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(choice.name)
        .label(choice.label)
        .datasource(SOURCE)
        .query(f"label_values({choice.series}, {choice.of})")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .include_all(True)
        .all_value(".*")
        .multi(True)
    )


def _annotation(mark: Mark) -> dashboard.AnnotationQuery:
    return (
        dashboard.AnnotationQuery()
        .name(mark.name)
        .datasource(SOURCE)
        .enable(True)
        .icon_color(mark.color)
        .expr(mark.expression)
        .step("1m")
        .title_format(mark.name)
        .text_format("champion: {{model_version}}")
    )
