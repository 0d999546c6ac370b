"""A model's report: one HTML page that stands alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from retrain.charts import bars, calibration_points, curve, roc_points, scatter
from retrain.data_section import findings_list
from retrain.dataset import Dataset
from retrain.evaluation import LOWER_IS_BETTER
from retrain.examination import Examination
from retrain.page import render_page, row, section, table
from retrain.profile import Profile
from retrain.profile_page import profile_sections

SHOWN_FEATURES = 20
SHOWN_POINTS = 400
SHOWN_CLASSES = 12


def render_report(card: Mapping[str, Any], found: Examination, holdout: Dataset, profile: Profile | None = None) -> str:
    """The page: what was chosen, how good it is and against whom, what it looks at, and what was tried.

    With a profile, what the data look like, too.
    """
    title = f"{card['problem']}: {str(card['family']).replace('_', ' ')}"
    sections = [
        _heading(title, card),
        section("How good it is", _metrics(card)),
        section("Against the champion", _champion(card)),
        section("The gate", _gate(card["gate"])),
        section("What the guards found", findings_list(card["findings"])),
        section("On the holdout", _pictures(found, holdout)),
        section(
            "What it looks at",
            '<p class="dim">How much the loss rises when one feature is mixed among the holdout\'s rows.</p>'
            + bars(dict(list(found.importances.items())[:SHOWN_FEATURES]), "importance"),
        ),
        section("What is made of columns", _features(card["features"])),
        section(
            "What was tried",
            _mode(card["mode"]) + _window(card.get("window")) + _ensemble(card["ensemble"]) + _trials(card["trials"]),
        ),
        *(profile_sections(profile) if profile is not None else ()),
        section("Where it comes from", _facts(_origin(card))),
    ]
    return render_page(title, sections)


def _heading(title: str, card: Mapping[str, Any]) -> str:
    params = _params(card)
    return (
        f"<h1>{escape(title)}</h1><p class='lead'>{escape(params)}</p>"
        f"<p>Trained on {card['rows']:,} rows, judged on the {card['holdout_rows']:,} newest of them: "
        f"{escape(card['metrics_of'])}.</p>"
    )


def _features(features: Sequence[str]) -> str:
    if not features:
        return "<p>Numbers as they are, categories each by itself.</p>"
    return f"<p>Besides numbers as they are and categories by themselves: {escape('; '.join(features))}.</p>"


def _metrics(card: Mapping[str, Any]) -> str:
    columns = {"candidate": card["metrics"], **card["baselines"]}
    heads = ["", *columns]
    rows = [
        [
            f"{name}{' ↓' if name in LOWER_IS_BETTER else ' ↑'}",
            *(_interval(held.get(name)) for held in columns.values()),
        ]
        for name in card["metrics"]
    ]
    return table(heads, rows) + '<p class="dim">With 95 % bootstrap intervals.</p>'


def _champion(card: Mapping[str, Any]) -> str:
    compared = card["comparison"]
    if compared is None:
        return "<p>There was no champion.</p>"
    if not card["champion_metrics"]:
        return f"<p>Champion {escape(compared['other'])} had seen every row of the holdout: nothing to compare on.</p>"
    rows = [
        [name, _interval(card["fresh_metrics"].get(name)), _interval(held)]
        for name, held in card["champion_metrics"].items()
    ]
    fresh = f"<p>On the {compared['rows']:,} rows that {escape(compared['other'])} had not seen either:</p>"
    return fresh + table(["", "candidate", f"champion {compared['other']}"], rows)


def _gate(gate: Mapping[str, Any]) -> str:
    checks = "".join(
        f"<li class='{'passed' if check['passed'] else 'refused'}'>{escape(check['reason'])}</li>"
        for check in gate["checks"]
    )
    return f"<ul style='list-style: none; padding: 0'>{checks}</ul>"


def _pictures(found: Examination, holdout: Dataset) -> str:
    scores, y = found.candidate.scores, holdout.target
    if not holdout.classes:
        chosen = np.linspace(0, len(y) - 1, min(len(y), SHOWN_POINTS)).round().astype(int)
        pairs = [(float(y[place]), float(scores[place])) for place in chosen]
        errors = [(float(scores[place]), float(y[place] - scores[place])) for place in chosen]
        return row(
            scatter(pairs, "target", "prediction", diagonal=True),
            scatter(errors, "prediction", "error", diagonal=False),
        )
    if holdout.classes == 2:
        positive = holdout.schema.problem.positive_class
        code = holdout.schema.classes.index(positive) if positive in holdout.schema.classes else 1
        own, hits = scores[:, code], y == code
        share = f"share of {holdout.schema.classes[code]}"
        return row(
            curve(roc_points(own, hits), "false positive rate", "true positive rate", diagonal=True),
            curve(calibration_points(own, hits), "predicted probability", share, diagonal=True, dots=True),
        ) + _confusion(scores.argmax(axis=1), y, holdout.schema.classes)
    return _confusion(scores.argmax(axis=1), y, holdout.schema.classes)


def _confusion(predicted: Any, y: Any, classes: Sequence[str]) -> str:
    if len(classes) > SHOWN_CLASSES:
        return f"<p>{len(classes)} classes: too many for a table.</p>"
    counts = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(counts, (y, predicted), 1)
    rows = [[f"is {name}", *(f"{count:,}" for count in counts[code])] for code, name in enumerate(classes)]
    return table(["", *(f"said {name}" for name in classes)], rows)


def _mode(mode: Mapping[str, Any]) -> str:
    return f"<p>Mode {escape(mode['mode'])}: {escape('; '.join(mode['reasons']))}.</p>"


def _window(window: Mapping[str, Any] | None) -> str:
    return (
        "" if window is None else f"<p>Window {escape(window['window'])}: {escape('; '.join(window['reasons']))}.</p>"
    )


def _trials(trials: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        [
            str(trial["number"]),
            str(trial["family"]).replace("_", " "),
            "failed: " + trial["error"] if trial["loss"] is None else f"{trial['loss']:.5g}",
            f"{trial['seconds']:.2f} s",
            _params(trial),
        ]
        for trial in trials
    ]
    return table(["trial", "family", "loss", "time", "hyperparameters"], rows)


def _params(held: Mapping[str, Any]) -> str:
    """The hyperparameters; of an ensemble, its members' shares, their own stand in the table of trials."""
    if "members" in held:
        return ", ".join(f"{m['weight']:.0%} {str(m['family']).replace('_', ' ')}" for m in held["members"])
    return ", ".join(f"{name} {value}" for name, value in held["params"].items())


def _ensemble(ensemble: Mapping[str, Any] | None) -> str:
    """What an ensemble of the trials would gain, and whether it was kept for it."""
    if ensemble is None or ensemble["members"] < 2:
        return ""
    error = "unknown" if ensemble["error"] is None else f"{ensemble['error']:.2g}"
    verdict = "kept" if ensemble["kept"] else "not kept: the best alone is as good"
    return (
        f"<p>An ensemble of {ensemble['members']} spares {ensemble['gain']:.2g} of loss on rows that it was not "
        f"selected on (standard error {error}): {verdict}.</p>"
    )


def _origin(card: Mapping[str, Any]) -> dict[str, Any]:
    lineage = card["lineage"]
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
        "parity of ONNX and estimator": f"{card['parity']['max_difference']:.2g} on {card['parity']['rows']} rows",
        "time for one record": f"{card['latency_ms'] * 1000:.0f} µs",
    }


def _facts(facts: Mapping[str, Any]) -> str:
    return table(["", ""], [[name, str(value)] for name, value in facts.items()])


def _interval(held: Mapping[str, float] | None) -> str:
    return "–" if held is None else f"{held['value']:.4f} ({held['low']:.4f} – {held['high']:.4f})"
