"""The report's pictures of how the candidate errs on the holdout, and of what more rows would bring."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from record.pages.numbers import figure, in_unit
from record.pages.page import pictures
from record.pages.plot import Plot, span
from retrain.evaluation.costs import CostReport
from retrain.evaluation.curves import ClassCurves, Residuals
from retrain.evaluation.insight import Insight
from retrain.evaluation.learning_curve import LearningCurve

UNIT = (0.0, 1.0)
SHOWN_CLASSES = 12  # of a confusion matrix; a table of more is not read


def classification_pictures(insight: Insight, classes: Sequence[str]) -> str:
    """ROC, precision and recall, calibration, learning curve, confusion matrix."""
    if not insight.curves:
        return "<p>The holdout holds one class only: there are no curves.</p>"
    return pictures(
        _roc(insight.curves),
        _precision(insight.curves),
        _calibration(insight.curves),
        learning_picture(insight.learning),
        *([_costs(insight.costs)] if insight.costs else []),
    ) + confusion_matrix(insight.confusion, classes)


def regression_pictures(insight: Insight, unit: str | None = None) -> str:
    """Target by prediction, errors by prediction, their distribution, learning curve."""
    held = insight.residuals
    if held is None:
        return ""
    return pictures(
        _target_by_prediction(insight, held, unit),
        _error_by_prediction(insight, held, unit),
        _error_histogram(held, unit),
        learning_picture(insight.learning),
    )


def learning_picture(learning: LearningCurve) -> str:
    """The metric by the number of rows learned from, with its intervals."""
    points = learning.points
    if len(points) < 2:
        return "<p class='dim'>Learning curve: there was no time to fit the recipe on fewer rows.</p>"
    every = [end for point in points for end in (point.metric.low, point.metric.high)]
    title = "Learning curve"
    metric = learning.metric.replace("_", " ")
    plot = Plot(title, "rows learned from, the newest", metric, (0, points[-1].rows * 1.03), span(every))
    line = [(float(point.rows), point.metric.value) for point in points]
    plot.band(
        [(float(point.rows), point.metric.low) for point in points],
        [(float(point.rows), point.metric.high) for point in points],
    )
    plot.line(line).dots(line)
    left_out = f" {learning.skipped} sizes left out for want of time." if learning.skipped else ""
    return plot.svg() + (f"<p class='dim'>{left_out}</p>" if left_out else "")


def confusion_matrix(counts: Sequence[Sequence[int]], classes: Sequence[str]) -> str:
    """Rows are what was, columns what was said; the shade is the share of the row."""
    if len(classes) > SHOWN_CLASSES:
        return f"<p class='dim'>{len(classes)} classes: too many for a confusion matrix.</p>"
    heads = "".join(f"<th>{escape(name)}</th>" for name in classes)
    body = ""
    for name, cells in zip(classes, counts, strict=True):
        total = sum(cells) or 1
        held = "".join(
            f"<td style='--share: {cell / total:.3f}'>{cell:,}<small>{cell / total:.1%}</small></td>" for cell in cells
        )
        body += f"<tr><th>{escape(name)}</th>{held}<td class='dim'>{sum(cells):,}</td></tr>"
    return (
        "<h3>Confusion matrix</h3><p class='dim'>Rows are what was, columns what was answered; "
        f"shares are of the row.</p><div class='wide'><table class='confusion'><thead><tr><th></th>{heads}"
        f"<th class='dim'>rows</th></tr></thead><tbody>{body}</tbody></table></div>"
    )


def _roc(curves: Sequence[ClassCurves]) -> str:
    plot = Plot("ROC curve", "false positive rate", "true positive rate", UNIT, UNIT).guide([(0, 0), (1, 1)])
    for place, held in enumerate(curves):
        plot.line(held.roc, place)
    return plot.svg() + _legend([(held.name, f"area {held.auc:.3f}") for held in curves])


def _precision(curves: Sequence[ClassCurves]) -> str:
    plot = Plot("Precision and recall", "recall", "precision", UNIT, UNIT)
    for place, held in enumerate(curves):
        plot.line(held.precision, place)
        if len(curves) == 1:
            plot.guide([(0, held.share), (1, held.share)])
    return plot.svg() + _legend([(held.name, f"average precision {held.average_precision:.3f}") for held in curves])


def _calibration(curves: Sequence[ClassCurves]) -> str:
    plot = Plot("Calibration", "probability said", "share observed", UNIT, UNIT).guide([(0, 0), (1, 1)])
    for place, held in enumerate(curves):
        points = [(each.said, each.observed) for each in held.calibration]
        if len(curves) == 1:
            plot.whiskers([(each.said, each.low, each.high) for each in held.calibration])
        plot.line(points, place).dots(points, place)
    return plot.svg() + _legend([(held.name, f"mean distance {held.error:.3f}") for held in curves])


def _costs(held: CostReport) -> str:
    """What each threshold would have cost, over log odds; the one in use and .5 are marked."""
    line = [(_log_odds(at), cost) for at, cost in held.curve]
    across, up = (line[0][0], line[-1][0]), span([0.0, *(cost for _, cost in line)])
    plot = Plot("Cost by threshold", "threshold", "cost per 1,000 rows", across, up)
    plot.name_at({_log_odds(at): f"{at:g}" for at in (0.01, 0.1, 0.5, 0.9, 0.99)})
    plot.line(line).whiskers([(_log_odds(held.threshold), held.cost.low, held.cost.high)], 1)
    plot.dots([(_log_odds(held.threshold), held.cost.value)], 1).dots([(0.0, held.cost_at_half.value)], 2)
    spared = held.spared
    named = [(f"{held.threshold:.3g}, in use", figure(held.cost.value)), ("0.5", figure(held.cost_at_half.value))]
    marks = "".join(
        f"<span><i class='b{place}'></i>{escape(name)} <span class='dim'>{escape(text)}</span></span>"
        for place, (name, text) in enumerate(named, 1)
    )
    told = f"{figure(spared.value)} spared per 1,000 ({figure(spared.low)} to {figure(spared.high)})"
    return f"{plot.svg()}<p class='legend'>{marks}</p><p class='dim'>{told}</p>"


def _log_odds(share: float) -> float:
    inside = min(max(share, 0.001), 0.999)
    return math.log(inside / (1 - inside))


def _legend(named: Sequence[tuple[str, str]]) -> str:
    parts = [
        f"<span><i class='b{place % 8}'></i>{escape(name)} <span class='dim'>{escape(text)}</span></span>"
        for place, (name, text) in enumerate(named)
    ]
    return f"<p class='legend'>{''.join(parts)}</p>"


def _target_by_prediction(insight: Insight, held: Residuals, unit: str | None) -> str:
    both = span([end for point in insight.points for end in point])
    means = [(each["prediction"], each["target"]) for each in held.by_prediction]
    plot = Plot("Target by prediction", in_unit("prediction", unit), in_unit("target", unit), both, both).guide(
        [(both[0],) * 2, (both[1],) * 2]
    )
    return plot.dots(insight.points, size=2).line(means, 1, name="mean").dots(means, 1).svg()


def _error_by_prediction(insight: Insight, held: Residuals, unit: str | None) -> str:
    errors = [(said, said - was) for said, was in insight.points]
    bins = held.by_prediction
    wide = [end for each in bins for end in (each["low"], each["high"])]
    x, y = span([said for said, _ in errors]), span([*wide, *(-end for end in wide)], room=0.25)
    plot = Plot("Error by prediction", in_unit("prediction", unit), in_unit("prediction − target", unit), x, y).guide(
        [(x[0], 0), (x[1], 0)]
    )
    plot.band([(e["prediction"], e["low"]) for e in bins], [(e["prediction"], e["high"]) for e in bins], 0)
    plot.dots([(said, error) for said, error in errors if y[0] <= error <= y[1]], size=2)
    return plot.line([(e["prediction"], e["middle"]) for e in bins], 1, name="median, 5 to 95 %").svg()


def _error_histogram(held: Residuals, unit: str | None) -> str:
    edges, counts = held.histogram["edges"], held.histogram["counts"]
    plot = Plot(
        "Distribution of errors",
        in_unit("prediction − target", unit),
        "rows",
        (edges[0], edges[-1]),
        (0, max(counts) * 1.05),
    )
    told = f"mean {figure(held.mean)}, standard deviation {figure(held.sd)}, median {figure(held.quantiles['50'])}"
    return plot.columns(edges, counts).svg() + f"<p class='dim'>{told}; the outermost half percents are cut off.</p>"
