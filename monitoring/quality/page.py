"""A quality check as one HTML page: what the labels say, what was expected, where it is worse, and the labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np

from monitoring.quality.cohort import Cohort
from monitoring.quality.decline import DeclineDecision
from monitoring.quality.delays import DelayReport
from monitoring.quality.estimated import Estimator
from monitoring.quality.groups import Group
from monitoring.quality.loss import Loss
from monitoring.quality.measures import HIGHER_IS_BETTER, Metric, half_width, watched
from monitoring.quality.observed import QualityReport
from monitoring.quality.slices import Slice
from monitoring.quality.track_record import TrackRecord
from record.pages.charts import bands, bars, calibration_points, curve, scatter
from record.pages.numbers import amount, count, figure, in_unit, probability
from record.pages.page import render_page, row, section, table

SHOWN_DAYS = 60
IN_UNITS = ("mae", "rmse")  # metrics in the target's unit
SHOWN_POINTS = 400
HEAD = "<p class='dim'>With 95 % intervals; by days, where there are eight or more of them.</p>"


@dataclass(frozen=True, slots=True)
class QualityFindings:
    """All that one check found of the champion."""

    reports: Mapping[str, QualityReport]  # by role
    estimated: Mapping[str, Metric]
    decisions: Sequence[DeclineDecision]
    gap: float  # evidence divided by what an alarm needs
    slices: Sequence[Slice]
    groups: Sequence[Group]
    delays: DelayReport
    depends: bool  # delays on outcomes
    share: float = 1.0  # of the window's requests that were looked at
    set_aside: int = 0  # requests of a broken feed, which are no evidence
    track_record: TrackRecord = field(default_factory=TrackRecord)  # of the estimates
    differences: Mapping[str, Metric] = field(default_factory=dict)  # of losses, by the role beside the champion


def render_quality(
    found: QualityFindings, window: Cohort, estimator: Estimator, loss: Loss, unit: str | None = None
) -> str:
    """`window` is the mature rows that were looked at; `unit` is the target's."""
    champion = found.reports["champion"]
    known = window.known()
    problem = window.schema.problem
    title = f"{problem.target}: quality of {champion.version}"
    sampled = "" if found.share >= 1 else f" These are an even sample of {found.share:.2%} of the requests."
    aside = f" {found.set_aside:,} requests of a broken feed are set aside." if found.set_aside else ""
    return render_page(
        title,
        [
            f"<h1>{escape(title)}</h1><p class='lead'>As of {champion.as_of:%Y-%m-%d %H:%M} UTC: {champion.labelled:,} "
            f"labels for {champion.mature:,} mature requests.{sampled}{aside}</p>",
            section("How good it is", _metrics(found, unit) + HEAD),
            section("Has it declined?", _declines(found)),
            section("Day by day", _daily(known, estimator, loss)),
            section("What was said and what came", _pictures(known, unit)),
            section("Where it is worse", _slices(found.slices)),
            section("Protected groups", _groups(found.groups)),
            section("The labels", _labels(found, champion)),
        ],
    )


def _metrics(found: QualityFindings, unit: str | None) -> str:
    columns = {role: report.metrics for role, report in found.reports.items()}
    names = list(dict.fromkeys(name for metrics in (*columns.values(), found.estimated) for name in metrics))
    rows = [
        [
            f"{in_unit(name, unit if name in IN_UNITS else None)} {'↑' if name in HIGHER_IS_BETTER else '↓'}",
            *(_shown(metrics.get(name)) for metrics in columns.values()),
            _shown(found.estimated.get(name)),
        ]
        for name in names
    ]
    heads = [
        f"{role.replace('_', ' ')} {report.version}, observed on {report.labelled:,} requests"
        for role, report in found.reports.items()
    ]
    paired = "".join(
        f"<p>On the {found.reports[role].labelled:,} requests that both answered, the loss of the {role} "
        f"{found.reports[role].version} is {_shown(difference)} above the champion's: "
        f"{'better' if difference.high < 0 else 'worse' if difference.low > 0 else 'no difference beyond chance'}.</p>"
        for role, difference in found.differences.items()
    )
    by_labels = found.track_record.last_labels_tell_as_much
    estimated = "champion, the last labels" if by_labels else "champion, estimated for requests without labels"
    return paired + table(["", *heads, estimated], rows) + f"<p>{escape(str(found.track_record))}</p>"


def _declines(found: QualityFindings) -> str:
    said = [(one.declined, f"{one.basis}: {'; '.join(one.reasons)}") for one in found.decisions]
    gap = "more than chance explains" if found.gap >= 1 else "within chance"
    said.append(
        (found.gap >= 1, f"labels against estimates: {gap}, evidence {amount(found.gap)} of what an alarm needs")
    )
    items = "".join(f"<li class='{'refused' if bad else 'passed'}'>{escape(text)}</li>" for bad, text in said)
    return f"<ul style='list-style: none; padding: 0'>{items}</ul>"


def _daily(known: Cohort, estimator: Estimator, loss: Loss) -> str:
    """The mean loss of each day, and what was to be expected of it."""
    if not len(known):
        return "<p>No labels.</p>"
    losses, expected, days = known.losses(loss), estimator.losses(known), known.days
    observed, estimated = [], []
    for place, day in enumerate(np.unique(days)[-SHOWN_DAYS:]):
        own = days == day
        value, half = float(losses[own].mean()), half_width(losses[own])
        observed.append((float(place), max(0.0, value - half), value, min(1.0, value + half)))
        level = float(expected[own].mean())
        estimated.append((float(place), level, level, level))
    if len(observed) == 1:
        (_, low, value, high), (_, _, level, _) = observed[0], estimated[0]
        return f"<p>One day so far: loss {_shown(Metric(value, low, high))}, {figure(level)} estimated.</p>"
    return bands({"observed loss": observed, "estimated": estimated}, "day of request", "loss")


def _pictures(known: Cohort, unit: str | None) -> str:
    if not len(known):
        return "<p>No labels.</p>"
    if known.schema.problem.task == "regression":
        chosen = np.linspace(0, len(known) - 1, min(len(known), SHOWN_POINTS)).round().astype(int)
        pairs = [(float(known.labels[place]), float(known.answers[place])) for place in chosen]
        errors = [(float(known.answers[place]), float(known.labels[place] - known.answers[place])) for place in chosen]
        return row(
            scatter(pairs, in_unit("label", unit), in_unit("answer", unit), diagonal=True),
            scatter(errors, in_unit("answer", unit), in_unit("error", unit), diagonal=False),
        )
    own = watched(known) if len(known.schema.classes) == 2 else None
    scores = known.shares[:, own] if own is not None else known.shares.max(axis=1)
    hit = known.codes == (own if own is not None else known.shares.argmax(axis=1))
    name = f"share of {known.schema.classes[own]}" if own is not None else "share of right answers"
    counts, edges = np.histogram(scores, bins=10, range=(0.0, 1.0))
    spread = {f"{low:.1f} to {low + 0.1:.1f}": float(rows) for rows, low in zip(counts, edges[:-1], strict=True)}
    return row(
        curve(calibration_points(scores, hit), "predicted probability", name, diagonal=True, dots=True),
        bars(spread, "answers by predicted probability", count),
    )


def _slices(slices: Sequence[Slice]) -> str:
    if not slices:
        return "<p>Nowhere that chance does not explain.</p>"
    rows = [
        [
            one.name,
            "configured" if one.configured else "found",
            f"{one.rows:,}",
            _shown(one.metrics.get("loss")),
            ("+" if one.excess > 0 else "") + figure(one.excess),
            probability(one.p_value),
        ]
        for one in slices
    ]
    return table(["slice", "", "labels", "loss", "more than elsewhere", "p-value"], rows)


def _groups(groups: Sequence[Group]) -> str:
    if not groups:
        return "<p>problem.protected names no column with enough labels.</p>"
    names = list(dict.fromkeys(name for group in groups for name in group.metrics))
    rows = [[group.name, f"{group.rows:,}", *(_shown(group.metrics.get(name)) for name in names)] for group in groups]
    return table(["group", "labels", *(name.replace("_", " ") for name in names)], rows)


def _labels(found: QualityFindings, champion: QualityReport) -> str:
    delays = found.delays
    kinds = {"all": delays.quantiles, **delays.by_outcome}
    rows = [[name, *(_time(held.get(q)) for q in ("0.5", "0.9", "0.99"))] for name, held in kinds.items()]
    said = f"<p>{champion.coverage:.1%} of mature requests have a label.</p>"
    warned = (
        "<p class='refused'>Delay depends on the outcome: whatever is read before labels are mature is biased.</p>"
        if found.depends
        else ""
    )
    return said + warned + table(["delay", "half within", "nine tenths", "99 %"], rows)


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("m", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def _shown(metric: Metric | None) -> str:
    if metric is None:
        return "–"
    return f"{figure(metric.value)} ({figure(metric.low)} – {figure(metric.high)})"
