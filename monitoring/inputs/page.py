"""What a look at the data found, as one HTML page that stands alone: each finding with examples and a picture.

Examples are values of requests, and may be personal: the page is read by role, and never copied into an event.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any

import numpy as np

from monitoring.inputs.domain_classifier import DomainReport
from monitoring.inputs.finding import WHOLE_ROW, DataFinding, DataQualityReport
from monitoring.windows import Numbers, Texts, Window
from record.pages.charts import bars
from record.pages.numbers import amount, in_unit
from record.pages.page import render_page as render_html

BINS = 32
SHOWN_CATEGORIES = 8
TITLES = {
    "missing": "Missing values have risen",
    "out_of_range": "Out of range",
    "unseen_category": "Unseen categories",
    "type_failure": "Values of another type",
    "constant": "The column stands still",
    "duplicates": "Requests repeat each other",
    "unit_slip": "Another unit",
    "column_swap": "Columns exchanged",
}
OWN_STYLE = """
.error, .warning { display: inline-block; border-radius: .3rem; padding: 0 .5rem; font-size: .8rem; color: #fff; }
.error { background: #c0392b; } .warning { background: #b7791f; }
section { border-top: 1px solid var(--line); padding: 1rem 0; }
section h2 { margin: 0 0 .3rem; } section .row { align-items: start; }
.was { fill: var(--dim); opacity: .55; } td { word-break: break-all; }
"""

_WIDTH, _HEIGHT = 360, 64


def render_page(
    report: DataQualityReport,
    domain: DomainReport | None,
    reference: Window,
    current: Window,
    *,
    target: str,
    version: str,
    as_of: datetime,
    smallest_shift: float,
    units: Mapping[str, str] | None = None,
) -> str:
    """The page; `target` is what is predicted, `units` are those of columns.

    `smallest_shift` is in standard deviations of a number.
    """
    title = f"{target}: data quality against {version}"
    errors = len(report.errors)
    lead = f"{errors} errors, {len(report.findings) - errors} warnings"
    parts = [
        f"<h1>{escape(title)}</h1><p class='lead'>{lead}, as of {as_of:%Y-%m-%d %H:%M} UTC</p>",
        f"<p>{_window(report, reference, current)} The smallest shift of a number that so many rows show in nine cases"
        f" of ten is {smallest_shift:.3f} standard deviations.</p>",
        "".join(_finding(finding, reference, current, units or {}) for finding in report.findings),
        _domain(domain),
    ]
    return render_html(title, parts, OWN_STYLE)


def _window(report: DataQualityReport, reference: Window, current: Window) -> str:
    span = ""
    if current.since is not None and current.until is not None:
        span = f" from {current.since:%Y-%m-%d %H:%M} to {current.until:%Y-%m-%d %H:%M} UTC"
    looked = "all" if report.rows == report.window_rows else f"an even sample of {report.rows:,}"
    return (
        f"{report.window_rows:,} requests{span}, {looked} of them looked at, "
        f"against {len(reference):,} rows of the reference."
    )


def _finding(finding: DataFinding, reference: Window, current: Window, units: Mapping[str, str]) -> str:
    column = "whole requests" if finding.column == WHOLE_ROW else in_unit(finding.column, units.get(finding.column))
    heading = (
        f"<h2>{escape(column)}: {escape(TITLES[finding.check])} "
        f"<span class='{finding.severity}'>{finding.severity}</span></h2><p>{escape(finding.message)}.</p>"
    )
    picture = _picture(finding.column, reference, current)
    return f"<section>{heading}<div class='row'><div>{_examples(finding)}</div><div>{picture}</div></div></section>"


def _examples(finding: DataFinding) -> str:
    if not finding.examples:
        return "<p class='dim'>No examples: the column is redacted, or its values were refused.</p>"
    rows = "".join(
        f"<tr><td>{escape(example.value)}</td><td class='dim'>{escape(example.id)}</td></tr>"
        for example in finding.examples
    )
    head = "<thead><tr><th>value</th><th>request</th></tr></thead>"
    return f"<div class='wide'><table>{head}<tbody>{rows}</tbody></table></div>"


def _domain(domain: DomainReport | None) -> str:
    if domain is None:
        return ""
    told = "can be told from" if domain.drifted else "cannot be told from"
    text = (
        f"<p>A model that saw other blocks of time {told} the reference's rows: area under the curve "
        f"{domain.auc:.3f}, where chance and harmless change reach {domain.threshold:.3f} "
        f"({domain.rows:,} rows of each).</p>"
    )
    if domain.drivers:
        text += "<p class='dim'>What it is told by: how much the area falls when one feature is mixed.</p>"
        text += bars(domain.drivers, "fall of the area")
    if domain.excluded:
        text += f"<p class='dim'>Left out, since they pass by with time: {escape(', '.join(domain.excluded))}.</p>"
    return f"<section><h2>How the columns go together</h2>{text}</section>"


def _picture(name: str, reference: Window, current: Window) -> str:
    if name in reference.numbers and name in current.numbers:
        return _histograms(reference.numbers[name], current.numbers[name])
    if name in reference.categories and name in current.categories:
        return _shares(reference.categories[name], current.categories[name])
    return ""


def _histograms(before: Numbers, now: Numbers) -> str:
    """One above the other: on one axis where the ranges overlap, else each on its own."""
    known = [values[np.isfinite(values)] for values in (before, now)]
    if min(len(values) for values in known) == 0:
        return "<p class='dim'>No values.</p>"
    spans = [_span(values) for values in known]
    whole = (min(low for low, _ in spans), max(high for _, high in spans))
    if all(high - low > 0.1 * (whole[1] - whole[0]) for low, high in spans):
        spans = [whole, whole]
    titles = ("reference", "window")
    return "".join(
        _histogram(values, span, title, "was" if place == 0 else "mark")
        for place, (values, span, title) in enumerate(zip(known, spans, titles, strict=True))
    )


def _span(values: Numbers) -> tuple[float, float]:
    """From the 1st to the 99th percentile: one wild value must not flatten all others."""
    low, high = (float(edge) for edge in np.quantile(values, [0.01, 0.99]))
    margin = 0.0 if high > low else max(abs(low) * 0.05, 0.5)
    return low - margin, high + margin


def _histogram(values: Numbers, span: tuple[float, float], title: str, style: str) -> str:
    counts, _ = np.histogram(values, BINS, range=span)
    tallest, step = max(1, int(counts.max())), _WIDTH / BINS
    marks = "".join(
        f'<rect x="{place * step:.1f}" y="{18 + _HEIGHT * (1 - count / tallest):.1f}" width="{step - 1:.1f}" '
        f'height="{_HEIGHT * count / tallest:.1f}" class="{style}"/>'
        for place, count in enumerate(counts.tolist())
    )
    base = 18 + _HEIGHT
    return (
        f'<svg viewBox="0 0 {_WIDTH} {base + 18}" role="img" aria-label="{title}">{marks}'
        f'<path d="M0 {base}H{_WIDTH}" class="axis"/><text x="0" y="11" class="dim">{title}</text>'
        f'<text x="0" y="{base + 14}" class="dim">{amount(span[0])}</text>'
        f'<text x="{_WIDTH}" y="{base + 14}" text-anchor="end" class="dim">{amount(span[1])}</text></svg>'
    )


def _shares(before: Texts, now: Texts) -> str:
    """The commonest categories of both, with their shares side by side."""
    counts = [Counter(texts.tolist()) for texts in (before, now)]
    sizes = [max(1, len(texts)) for texts in (before, now)]
    names: Sequence[Any] = sorted(
        set(counts[0]) | set(counts[1]),
        key=lambda name: -max(counts[0][name] / sizes[0], counts[1][name] / sizes[1]),
    )[:SHOWN_CATEGORIES]
    widest = max(counts[side][name] / sizes[side] for side in (0, 1) for name in names)
    rows = []
    for place, name in enumerate(names):
        y = 20 + place * 30
        shares = [counts[side][name] / sizes[side] for side in (0, 1)]
        label = "missing" if name is None else str(name)[:20]
        rows.append(f'<text x="130" y="{y + 15}" text-anchor="end">{escape(label)}</text>')
        for line, (share, style) in enumerate(zip(shares, ("was", "mark"), strict=True)):
            rows.append(
                f'<rect x="138" y="{y + 12 * line}" width="{180 * share / widest:.1f}" height="10" class="{style}"/>'
                f'<text x="{142 + 180 * share / widest:.1f}" y="{y + 9 + 12 * line}" class="dim">{share:.1%}</text>'
            )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {26 + 30 * len(names)}" role="img" aria-label="shares of categories">'
        f'<rect x="138" y="4" width="8" height="8" class="was"/><text x="150" y="12" class="dim">reference</text>'
        f'<rect x="220" y="4" width="8" height="8" class="mark"/><text x="232" y="12" class="dim">window</text>'
        f"{''.join(rows)}</svg>"
    )


def link_pages(drift_page: str, data_report: str | None, lines: Sequence[str]) -> str:
    """Evidently's page with what it does not say at its top: the window, what can be seen in it, the data's page."""
    told = "".join(f"<p style='margin:.2rem 0'>{escape(line)}</p>" for line in lines)
    if data_report is not None:
        told += f"<p style='margin:.2rem 0'><a href='{escape(data_report)}'>Data quality of the same window</a></p>"
    banner = (
        "<div style='font:15px/1.5 system-ui,sans-serif;max-width:75rem;margin:1rem auto;padding:.6rem 1rem;"
        f"border-left:4px solid #2f6fdb'>{told}</div>"
    )
    head, body, rest = drift_page.partition("<body>")
    return f"{head}{body}{banner}{rest}" if body else drift_page
