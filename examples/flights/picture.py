"""The demo's result as one picture (PNG) and one page (HTML) that needs nothing else."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot

from examples.flights.scoring import POLICIES, Judged, Policy
from examples.flights.summary import HEADS, NAMES, Summary
from record.pages.policy import policy_tag

MONTHS = ("", "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
COLOURS: dict[Policy, str] = {"live": "#c2185b", "frozen": "#78909c", "promote_all": "#ffb300"}
STYLES: dict[Policy, str] = {"live": "-", "frozen": "--", "promote_all": ":"}


def draw(judged: Judged, promotions: Sequence[tuple[datetime, str]], path: Path) -> None:
    """Log loss and AUC by month for the three policies, with a line where a challenger was promoted."""
    months = sorted({int(month) for month in judged.month})
    held = [judged.of_month(month) for month in months]
    figure, (losses, ranks) = pyplot.subplots(2, 1, figsize=(10, 8), sharex=True, layout="constrained")
    for policy in POLICIES:
        style = {"color": COLOURS[policy], "linestyle": STYLES[policy], "marker": "o", "label": NAMES[policy]}
        losses.plot(months, [month.log_loss(policy) for month in held], **style)
        ranks.plot(months, [month.auc(policy) for month in held], **style)
    losses.set_ylabel("log loss (lower is better)")
    ranks.set_ylabel("AUC (higher is better)")
    ranks.set_xticks(months, [MONTHS[month] for month in months])
    for at, version in promotions:
        place = at.month + (at.day - 1) / 31 - 0.5
        for axes in (losses, ranks):
            axes.axvline(place, color="#2e7d32", linewidth=0.8, alpha=0.6)
        losses.annotate(
            version, (place, 1), xycoords=("data", "axes fraction"), color="#2e7d32", ha="center", va="bottom"
        )
    for axes in (losses, ranks):
        axes.grid(visible=True, alpha=0.2)
    losses.legend(loc="best")
    figure.suptitle("Flights out of New York, March to December 2013: later than 15 minutes?")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def write_page(summary: Summary, picture: Path, path: Path) -> None:
    encoded = base64.b64encode(picture.read_bytes()).decode()
    facts = "".join(
        f"<tr><td>{html.escape(name.replace('_', ' '))}</td><td>{html.escape(_shown(value))}</td></tr>"
        for name, value in summary.facts.items()
        if name != "bouts"
    )
    stories = [[story.version, story.what, "; ".join(story.fate)] for story in summary.stories]
    path.write_text(
        f"""<!doctype html>
<html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{policy_tag()}<title>Ringside: a year of flights</title>
<style>
:root {{ color-scheme: light dark; --ink: #222; --page: #fff; --line: #ddd; }}
@media (prefers-color-scheme: dark) {{ :root {{ --ink: #e6e9ef; --page: #14171d; --line: #343b48; }} }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: var(--ink);
  background: var(--page); overflow-wrap: break-word; }}
table {{ border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; }}
td, th {{ padding: .25rem .7rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }}
img {{ max-width: 100%; background: #fff; }}
</style>
<h1>A year of flights, and who was in the ring</h1>
<p>{html.escape(summary.price)}</p>
<p>Ringside promotes by evidence; frozen is the first champion for ever; at once promotes every challenger but the
saboteur the moment it is registered. All three are scored on the same requests; loss is log loss.</p>
<img alt="Log loss and AUC by month" src="data:image/png;base64,{encoded}">
<h2>By month</h2>{_table(HEADS, summary.months)}
<h2>Every version</h2>{_table(["version", "what it was", "what became of it"], stories)}
<h2>The run</h2><table>{facts}</table>
</html>
""",
        encoding="utf-8",
    )


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{html.escape(head)}</th>" for head in heads)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"
