"""A panel as the boards say it: what it shows, in which unit, from where on it is bad, and where to read on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.models.common import (
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    ScaleDistribution,
)
from grafana_foundation_sdk.models.dashboard import DashboardLinkType, DataSourceRef, GridPos, Threshold, ThresholdsMode

SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${source}")
SERVICE: Final = "${ringside}"  # where people reach the service: a variable of each board
Step = tuple[float | None, str]


@dataclass(frozen=True, slots=True)
class Query:
    expression: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """`path` is one of the service's routes."""

    title: str
    path: str


@dataclass(frozen=True, slots=True)
class Panel:
    """`unit` is Grafana's name of it, `steps` the colours from each value on, `alert` the rule that watches it."""

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    links: tuple[Link, ...]
    steps: tuple[Step, ...] = ((None, "blue"),)
    kind: Literal["timeseries", "stat"] = "timeseries"
    width: int = 8
    alert: str | None = None
    by_version: bool = False  # a click on a series opens the model's card
    logarithmic: bool = False

    @property
    def height(self) -> int:
        return 4 if self.kind == "stat" else 8


def above(warn: float, alarm: float | None = None) -> tuple[Step, ...]:
    """Bad from `warn` on, and worse from `alarm` on."""
    steps: tuple[Step, ...] = ((None, "green"), (warn, "orange"))
    return steps if alarm is None else (*steps, (alarm, "red"))


def alarm_above(alarm: float) -> tuple[Step, ...]:
    return ((None, "green"), (alarm, "red"))


def below(alarm: float, good: float) -> tuple[Step, ...]:
    """Bad under `alarm`, and not yet good under `good`."""
    return ((None, "red"), (alarm, "orange"), (good, "green"))


def goal(value: float) -> tuple[Step, ...]:
    """Neither good nor bad, until it is reached."""
    return ((None, "blue"), (value, "green"))


def events(title: str, *kinds: str) -> Link:
    """The audit trail of the time that the board shows."""
    between = "since=${__from:date:iso}&until=${__to:date:iso}"
    chosen = f"kind={','.join(kinds)}&" if kinds else ""
    return Link(title, f"/events?{chosen}{between}")


def yes_no(title: str, description: str, query: Query, link: Link, alert: str, width: int = 4) -> Panel:
    """Whether something is the case that should not be."""
    return Panel(title, description, "bool_yes_no", (query,), (link,), alarm_above(1), "stat", width, alert)


def age(title: str, description: str, expression: str, link: Link, steps: tuple[Step, ...], width: int = 4) -> Panel:
    """How long ago the time was that the expression gives."""
    return Panel(title, description, "s", (Query(f"time() - {expression}", title),), (link,), steps, "stat", width)


def render(panel: Panel, identifier: int, position: GridPos) -> Any:
    """The SDK's builder of it."""
    built: Any = stat.Panel() if panel.kind == "stat" else _timeseries(panel)
    built = built.title(panel.title).description(_described(panel)).unit(panel.unit).datasource(SOURCE)
    built = built.id(identifier).grid_pos(position)
    steps = [Threshold(value=value, color=color) for value, color in panel.steps]
    built = built.thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
    built = built.links([_link(link.title, SERVICE + link.path) for link in panel.links])
    if panel.by_version:
        built = built.data_links([_link("The model's card", SERVICE + "/models/${__field.labels.model_version}")])
    for place, query in enumerate(panel.queries):
        built = built.with_target(
            prometheus.Dataquery().expr(query.expression).legend_format(query.legend).ref_id(chr(ord("A") + place))
        )
    return built


def _described(panel: Panel) -> str:
    return panel.description if panel.alert is None else f"{panel.description} Alert: {panel.alert}."


def _timeseries(panel: Panel) -> Any:
    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
    built = timeseries.Panel().legend(legend.show_legend(True)).fill_opacity(10)
    if len(panel.steps) > 1:
        style = common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED)
        built = built.thresholds_style(style)
    if panel.logarithmic:
        scale = common.ScaleDistributionConfig().type(ScaleDistribution.LOG).log(10)
        built = built.scale_distribution(scale)
    return built


def _link(title: str, url: str) -> dashboard.DashboardLink:
    return dashboard.DashboardLink(title).type(DashboardLinkType.LINK).url(url).target_blank(True)
