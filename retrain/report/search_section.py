"""The report's section on the search: how it went on, what each family came to, and every trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from record.pages.numbers import amount, figure
from record.pages.page import pictures, table
from record.pages.plot import Plot, span

Trials = Sequence[Mapping[str, Any]]


def search_pictures(card: Mapping[str, Any]) -> str:
    """Mode, ensemble, history, families; the trials themselves fold out."""
    trials = card["trials"]
    told = (
        _mode(card["mode"]) + _window(card.get("window")) + _ensemble(card["ensemble"]) + _threshold(card["decision"])
    )
    if not trials:
        return told
    return (
        told
        + pictures(_history(trials), _families(trials))
        + f"<details><summary>{len(trials)} trials</summary><div class='wide'>{_table(trials)}</div></details>"
    )


def params_text(held: Mapping[str, Any]) -> str:
    """The hyperparameters; of an ensemble, its members' shares, their own stand in the table of trials."""
    if "members" in held:
        return ", ".join(f"{m['weight']:.0%} {_family(m)}" for m in held["members"])
    return ", ".join(f"{name} {_shown(value)}" for name, value in held["params"].items())


def family_summary(trials: Trials) -> dict[str, dict[str, Any]]:
    """For each family its trials, failures, best loss and seconds, the best first."""
    found: dict[str, dict[str, Any]] = {}
    for trial in trials:
        held = found.setdefault(trial["family"], {"trials": 0, "failed": 0, "best": None, "seconds": 0.0})
        held["trials"] += 1
        held["failed"] += trial["loss"] is None
        held["seconds"] += trial["seconds"]
        if trial["loss"] is not None and (held["best"] is None or trial["loss"] < held["best"]):
            held["best"] = trial["loss"]
    return dict(sorted(found.items(), key=lambda item: (item[1]["best"] is None, item[1]["best"] or 0.0)))


def _history(trials: Trials) -> str:
    done = [(float(place + 1), trial["loss"], trial["family"]) for place, trial in enumerate(trials) if _known(trial)]
    if len(done) < 2:
        return ""
    losses = [loss for _, loss, _ in done]
    # A few hopeless trials would press all others together.
    top = float(np.percentile(losses, 90)) + 0.5 * (float(np.percentile(losses, 90)) - min(losses))
    families = list(family_summary(trials))
    plot = Plot("Trials", "trial", "loss", (0.5, len(trials) + 0.5), span([min(losses), min(max(losses), top)]))
    best = float("inf")
    steps: list[tuple[float, float]] = []
    for at, loss, _ in done:
        steps += [(at, min(best, top))] if steps else []
        best = min(best, loss)
        steps.append((at, min(best, top)))
    plot.guide([*steps, (float(len(trials)) + 0.4, best)])
    for colour, family in enumerate(families):
        plot.dots([(at, loss) for at, loss, own in done if own == family and loss <= top], colour)
    beyond = sum(loss > top for loss in losses)
    note = f"{beyond} trials beyond the picture. " if beyond else ""
    legend = "".join(
        f"<span><i class='b{colour % 8}'></i>{escape(_words(family))}</span>" for colour, family in enumerate(families)
    )
    return f"{plot.svg()}<p class='legend'>{legend}</p><p class='dim'>{note}Dashed: the best so far.</p>"


def _families(trials: Trials) -> str:
    rows = [
        [
            _words(family),
            str(held["trials"]) + (f" ({held['failed']} failed)" if held["failed"] else ""),
            "–" if held["best"] is None else figure(held["best"]),
            f"{held['seconds']:.1f} s",
        ]
        for family, held in family_summary(trials).items()
    ]
    return "<h3>Families</h3>" + table(["family", "trials", "best loss", "time"], rows)


def _table(trials: Trials) -> str:
    rows = [
        [
            str(trial["number"]),
            _family(trial),
            _outcome(trial),
            f"{trial['seconds']:.2f} s",
            params_text(trial),
        ]
        for trial in trials
    ]
    return table(["trial", "family", "loss", "time", "hyperparameters"], rows)


def _outcome(trial: Mapping[str, Any]) -> str:
    if trial["loss"] is None:
        return f"failed: {trial['error']}"
    stopped = f" (given up after {trial['stopped']} of the folds)" if trial.get("stopped") else ""
    return f"{figure(trial['loss'])}{stopped}"


def _mode(mode: Mapping[str, Any]) -> str:
    return f"<p>Mode {escape(mode['mode'])}: {escape('; '.join(mode['reasons']))}.</p>"


def _window(window: Mapping[str, Any] | None) -> str:
    if window is None:
        return ""
    return f"<p>Window {escape(window['window'])}: {escape('; '.join(window['reasons']))}.</p>"


def _ensemble(ensemble: Mapping[str, Any] | None) -> str:
    """What an ensemble of the trials would gain, and whether it was kept for it."""
    if ensemble is None or ensemble["members"] < 2:
        return ""
    error = "unknown" if ensemble["error"] is None else figure(ensemble["error"])
    verdict = "kept" if ensemble["kept"] else "not kept: the best alone is as good"
    return (
        f"<p>An ensemble of {ensemble['members']} spares {figure(ensemble['gain'])} of loss on rows that it was not "
        f"selected on (standard error {error}): {verdict}.</p>"
    )


def _threshold(decision: Mapping[str, Any] | None) -> str:
    """From which probability on the positive class is answered, and why."""
    if decision is None:
        return ""
    return f"<p>Answered from {amount(decision['threshold'])} on: {escape('; '.join(decision['reasons']))}.</p>"


def _known(trial: Mapping[str, Any]) -> bool:
    return trial["loss"] is not None and bool(np.isfinite(trial["loss"]))


def _family(held: Mapping[str, Any]) -> str:
    return _words(str(held["family"]))


def _words(name: str) -> str:
    return name.replace("_", " ")


def _shown(value: Any) -> str:
    return amount(value) if isinstance(value, float) else str(value)
