"""A profile as a part of a page, or as a page of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from record.pages.charts import bars
from record.pages.numbers import amount, figure
from record.pages.page import render_page, section, table
from retrain.guards.profile import ColumnProfile, Profile
from retrain.report.data_section import findings_list
from retrain.report.profile_charts import against_target, histogram, missing_grid, over_time, shares_bars

SHOWN_COLUMNS = 24  # in pictures; the others stand in the table
SHOWN_MISSING = 25
_STYLE = """<style>
.columns > div { display: grid; grid-template-columns: 11rem repeat(var(--pictures), minmax(0, 1fr)); gap: 1.2rem;
  border-top: 1px solid var(--line); padding: .7rem 0; align-items: start; }
.columns b { overflow-wrap: anywhere; } .columns p { margin: 0; font-size: .85rem; }
.columns .head { border: 0; padding: .2rem 0; color: var(--dim); font-size: .85rem; }
.shade { fill: var(--line); opacity: .45; } .cell { fill: var(--line); opacity: .4; }
.columns svg { max-width: 19rem; } .target svg { max-width: 19rem; }
@media (max-width: 45rem) { .columns > div { grid-template-columns: 1fr; } .columns .head { display: none; } }
</style>"""


def render_profile(problem: str, findings: Sequence[Mapping[str, Any]], profile: Profile) -> str:
    """A page that stands alone: what the guards found, and the profile."""
    heading = f"<h1>{escape(problem)}: the data</h1><p class='lead'>{escape(_span(profile))}</p>"
    parts = {"What the guards found": findings_list(findings), **profile_parts(profile)}
    return render_page(f"{problem}: the data", [heading, *(section(title, body) for title, body in parts.items())])


def profile_parts(profile: Profile) -> dict[str, str]:
    """The target, what is missing, what each column tells of the target, and the columns one by one: HTML by title."""
    first, last = _ends(profile)
    return {
        "The target": _STYLE + _target(profile, first, last),
        "Missing values": _missing(profile, first, last),
        "What each column tells of the target": _relations(profile),
        "The columns": _columns(profile, first, last),
        "Carried columns": _carried(profile),
    }


def _span(profile: Profile) -> str:
    dated = ""
    if profile.data_from is not None and profile.data_until is not None:
        dated = f", {profile.data_from:%Y-%m-%d} to {profile.data_until:%Y-%m-%d}"
    logged = f", {profile.logged_rows:,} of them from the log" if profile.logged_rows else ""
    sampled = "" if profile.looked_at == profile.rows else f"; pictures of {profile.looked_at:,} of them, evenly"
    return f"{profile.rows:,} rows{dated}{logged}; the newest {profile.held:,} are held out{sampled}."


def _target(profile: Profile, first: str, last: str) -> str:
    shape = shares_bars(profile.classes) if profile.classes else histogram(profile.histogram, profile.low, profile.high)
    share = profile.held / profile.rows
    trend = "<p class='dim'>The rows have no order in time.</p>"
    if profile.target_trend:
        trend = over_time([step.mean for step in profile.target_trend], share, profile.watched, first, last)
        trend += f"<p class='dim'>{escape(profile.watched)} over time; shaded: held out</p>"
    return (
        f"<p>{escape(profile.watched)}: {figure(profile.baseline)}</p>"
        f"<div class='row target'><div>{shape}</div><div>{trend}</div></div>"
    )


def _missing(profile: Profile, first: str, last: str) -> str:
    lacking = sorted((c for c in profile.columns if c.missing > 0), key=lambda column: -column.missing)
    lacking = [column for column in lacking if "." not in column.name or column.kind != "time"][:SHOWN_MISSING]
    if not lacking:
        return "<p>No feature has any.</p>"
    if profile.target_trend:
        return missing_grid([(column.name, column.missing_over_time) for column in lacking], first, last)
    return bars({column.name: column.missing for column in lacking}, "share of the rows")


def _relations(profile: Profile) -> str:
    shown = {column.name: column.explained for column in profile.columns[:SHOWN_COLUMNS]}
    note = (
        "The share of the target's variance that a column explains by itself in rows not looked at before: "
        "0 is nothing, 1 all of it. Columns may tell more together."
    )
    return f'<p class="dim">{note}</p>' + bars(shown, "explained")


def _columns(profile: Profile, first: str, last: str) -> str:
    head = f"<div class='head'><div></div><div>distribution</div><div>{escape(profile.watched)}</div>"
    head += ("<div>over time</div>" if profile.target_trend else "") + "</div>"
    shown = "".join(_column(column, profile, first, last) for column in profile.columns[:SHOWN_COLUMNS])
    rest = profile.columns[SHOWN_COLUMNS:]
    further = ""
    if rest:
        rows = [[c.name, c.kind, f"{c.missing:.1%}", f"{c.distinct:,}", f"{c.explained:.3f}"] for c in rest]
        further = table(["further columns", "type", "missing", "values", "explained"], rows)
    pictures = 3 if profile.target_trend else 2
    return f"<div class='columns' style='--pictures: {pictures}'>{head}{shown}</div>{further}"


def _column(column: ColumnProfile, profile: Profile, first: str, last: str) -> str:
    facts = [column.kind, f"{column.distinct:,} values"]
    if column.missing:
        facts.append(f"{column.missing:.1%} missing")
    if column.middle is not None:
        facts.append(f"median {amount(column.middle)}")
    named = [step for step in column.steps if step.name != "missing"]
    shape = histogram(column.histogram, column.low, column.high)
    if column.kind == "category":
        shape = shares_bars([(step.name, step.share) for step in named])
    relation = against_target(column.steps, profile.baseline, f"{profile.watched} by {column.name}")
    share = profile.held / profile.rows
    pictures = [shape, relation]
    if profile.target_trend:
        trend = over_time(column.trend, share, f"{column.trend_of} of {column.name}", first, last)
        what = f"<p class='dim'>{escape(column.trend_of)}</p>" if column.kind == "category" else ""
        pictures.append(trend + what)
    about = f"<b>{escape(column.name)}</b><p class='dim'>{escape(', '.join(facts))}</p>"
    return f"<div>{''.join(f'<div>{part}</div>' for part in (about, *pictures))}</div>"


def _carried(profile: Profile) -> str:
    if not profile.carried:
        return "<p>None.</p>"
    rows = [
        [column.name, column.kind, "not in the data" if column.missing is None else f"{column.missing:.1%}"]
        for column in profile.carried
    ]
    note = "<p class='dim'>Never fed to a model; their values are not shown.</p>"
    return note + table(["column", "type", "missing"], rows)


def _ends(profile: Profile) -> tuple[str, str]:
    if not profile.ends or profile.ends[0] is None or profile.ends[-1] is None:
        return ("oldest", "newest") if profile.target_trend else ("", "")
    first = profile.data_from or profile.ends[0]
    return f"{first:%Y-%m-%d}", f"{profile.ends[-1]:%Y-%m-%d}"
