"""A model's report: one HTML page that stands alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from record.pages.numbers import amount, figure, in_unit, powers
from record.pages.page import contents, render_page, section, table
from retrain.evaluation.examination import Examination
from retrain.evaluation.insight import Insight
from retrain.evaluation.metrics import LOWER_IS_BETTER
from retrain.guards.profile import Profile
from retrain.report.behaviour_section import dependence_pictures, importance_picture
from retrain.report.data_section import findings_list
from retrain.report.groups_section import fairness_tables, slices_picture
from retrain.report.performance_section import classification_pictures, regression_pictures
from retrain.report.profile_page import profile_parts
from retrain.report.search_section import params_text, search_pictures


@dataclass(frozen=True, slots=True)
class ModelReport:
    """A model's report but for the version's name, which is known at its registration only."""

    problem: str
    target: str
    family: str
    lead: str  # HTML beneath the heading
    sections: Mapping[str, str]  # HTML by title

    def html(self, version: str) -> str:
        """The page of the model as that version."""
        title = f"{self.problem} {version}: {self.target} by {self.family}"
        heading = f"<h1>{escape(title)}</h1>{self.lead}"
        parts = [section(name, body) for name, body in self.sections.items()]
        return render_page(title, [heading, contents(list(self.sections)), *parts])


def model_report(
    card: Mapping[str, Any],
    found: Examination,
    insight: Insight,
    classes: Sequence[str],
    target: str,
    profile: Profile | None = None,
    units: Mapping[str, str] | None = None,
) -> ModelReport:
    """The report: what was chosen, how good it is and against whom, how and where it errs, what it looks at, and how
    it was found; with a profile, what the data look like, too.

    `classes` are those of the holdout's codes; none for a regression.
    """
    unit = (units or {}).get(target)
    output = (
        in_unit("prediction", unit)
        if not classes
        else f"probability of {insight.watched}"
        if insight.watched
        else "probability"
    )
    pictures = classification_pictures(insight, classes) if classes else regression_pictures(insight, unit)
    parts = {
        "How good it is": _metrics(card),
        "Against the champion": _champion(card),
        "The gate": _gate(card["gate"]),
        "What the guards found": findings_list(card["findings"]),
        "On the holdout": pictures,
        "Where it errs more": slices_picture(insight.slices),
        "For whom": fairness_tables(insight.groups, insight.watched),
        "What it looks at": importance_picture(found.importances)
        + dependence_pictures(insight.dependences, output, units or {}),
        "What is made of columns": _features(card["features"]),
        "What was tried": search_pictures(card),
        **(profile_parts(profile) if profile is not None else {}),
        "Where it comes from": _facts(_origin(card)),
    }
    family = str(card["family"]).replace("_", " ")
    return ModelReport(str(card["problem"]), target, family, _lead(card), parts)


def _lead(card: Mapping[str, Any]) -> str:
    short = f"<p class='dim'>Left out for want of time: {escape(', '.join(card['left_out']))}.</p>"
    return (
        f"<p class='lead'>{escape(params_text(card))}</p>"
        f"<p>Trained on {card['rows']:,} rows, judged on the {card['holdout_rows']:,} newest of them: "
        f"{escape(card['metrics_of'])}.</p>{_tiles(card)}" + (short if card["left_out"] else "")
    )


def _features(features: Sequence[str]) -> str:
    if not features:
        return "<p>Numbers as they are, categories each by itself.</p>"
    return f"<p>Besides numbers as they are and categories by themselves: {escape('; '.join(features))}.</p>"


def _tiles(card: Mapping[str, Any]) -> str:
    """The numbers that one asks for first."""
    shown = [(_words(name), figure(held["value"])) for name, held in list(card["metrics"].items())[:4]]
    shown.append(("for one record", f"{1000 * card['latency_ms']:.0f} µs"))
    tiles = "".join(f"<div><b>{escape(value)}</b><span>{escape(name)}</span></div>" for name, value in shown)
    return f"<div class='tiles'>{tiles}</div>"


def _metrics(card: Mapping[str, Any]) -> str:
    columns = {"candidate": card["metrics"], **card["baselines"]}
    heads = ["", *columns]
    rows = [
        [
            f"{_words(name)}{' ↓' if name in LOWER_IS_BETTER else ' ↑'}",
            *(_interval(held.get(name)) for held in columns.values()),
        ]
        for name in card["metrics"]
    ]
    return f"<div class='wide'>{table(heads, rows)}</div>" + '<p class="dim">With 95 % bootstrap intervals.</p>'


def _champion(card: Mapping[str, Any]) -> str:
    compared = card["comparison"]
    if compared is None:
        return "<p>There was no champion.</p>"
    if not card["champion_metrics"]:
        return f"<p>Champion {escape(compared['other'])} had seen every row of the holdout: nothing to compare on.</p>"
    rows = [
        [_words(name), _interval(card["fresh_metrics"].get(name)), _interval(held)]
        for name, held in card["champion_metrics"].items()
    ]
    fresh = f"<p>On the {compared['rows']:,} rows that {escape(compared['other'])} had not seen either:</p>"
    compared_table = table(["", "candidate", f"champion {compared['other']}"], rows)
    return f"{fresh}<div class='wide'>{compared_table}</div>"


def _gate(gate: Mapping[str, Any]) -> str:
    checks = "".join(
        f"<li class='{'passed' if check['passed'] else 'refused'}'>{escape(powers(check['reason']))}</li>"
        for check in gate["checks"]
    )
    return f"<ul style='list-style: none; padding: 0'>{checks}</ul>"


def _origin(card: Mapping[str, Any]) -> dict[str, Any]:
    lineage, parity = card["lineage"], card["parity"]
    return {
        "made": card["created_at"],
        "data": f"{card['data_from'] or 'undated'} to {card['data_until'] or 'undated'}",
        "logged requests read": f"up to number {card['read_until_seq']}",
        "fingerprint of the data": lineage["data_fingerprint"],
        "settings": lineage["config_hash"],
        "git commit": lineage["git_commit"] or "none",
        "seed": lineage["seed"],
        "champion at the time": lineage["parent"] or "none",
        "head of the audit trail": lineage["chain_head"],
        "libraries": ", ".join(f"{name} {number}" for name, number in lineage["libraries"].items()),
        "parity of ONNX and estimator": f"{amount(parity['max_difference'])} on {parity['rows']:,} rows",
        "time for one record": f"{card['latency_ms'] * 1000:.0f} µs",
    }


def _words(name: str) -> str:
    return name.replace("_", " ")


def _facts(facts: Mapping[str, Any]) -> str:
    rows = table(["", ""], [[name, str(value)] for name, value in facts.items()])
    return f"<div class='facts'>{rows}</div>"


def _interval(held: Mapping[str, float] | None) -> str:
    return "–" if held is None else f"{figure(held['value'])} ({figure(held['low'])} – {figure(held['high'])})"
