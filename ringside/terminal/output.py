"""What commands print: facts as aligned text for people, or as JSON for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from record.errors import InputError
from record.ownership import give_to_owner
from record.printable import print_json, print_line, printable

if TYPE_CHECKING:
    from record.versions.model_version import ModelVersion
    from record.work.run import Run


def write_output(path: Path, text: str) -> None:
    """Write the file that a command was told to write; InputError where it cannot be."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; expected a file that can be written", field="output") from error
    give_to_owner(path)


def tell(facts: Mapping[str, Any], as_json: bool) -> None:
    """One line for each fact, further ones beneath it where it holds several; or the whole as one JSON object."""
    if as_json:
        print_json(facts)
        return
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        first, *further = lines(value) or ["-"]
        print_line(f"{name:<{width}}  {first}")
        for line in further:
            print_line(f"{'':<{width}}  {line}")


def tell_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their widest cell, the last one free."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max([len(head), *(len(row[place]) for row in rows)]) for place, head in enumerate(heads)]
    for row in [heads, *rows]:
        print_line("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


@dataclass(frozen=True, slots=True)
class Made:
    """What a run has made: the version, where its report is, and what to do next."""

    version: ModelVersion
    report_path: Path
    report_url: str | None  # None where the version's report has no name
    next: str


def tell_run(run: Run, made: Made | None, as_json: bool) -> None:
    """How a run ended: the version that it made beside its baselines, its report and what to do next.

    Or why it made none, and the gate's reasons.
    """
    outcome = run.outcome or {}
    facts: dict[str, Any] = {"run_id": run.run_id, "state": run.state, "version": run.version}
    if as_json:
        if made is not None:
            facts |= {"report": {"path": str(made.report_path), "url": made.report_url}, "next": made.next}
        tell({**facts, "outcome": outcome}, as_json)
        return
    if "error" in outcome:
        facts["error"] = outcome["error"]
    if made is not None:
        card = made.version.card
        facts |= {"family": card["family"], "params": short(card["params"])}
    tell(facts, as_json)
    if made is not None:
        others = {name: held for name, held in card["baselines"].items() if held}
        others |= {"champion": card["champion_metrics"]} if card["champion_metrics"] else {}
        rows = [_metric_row(name, own, list(others.values())) for name, own in card["metrics"].items()]
        tell_table(["metric", f"{made.version.version} (95 % interval)", *others], rows)
        print_line(f"on the {card['holdout_rows']} newest rows, which it was not fitted on")
    tell_findings(outcome.get("findings", []))
    for check in outcome.get("gate", {}).get("checks", []):
        print_line(f"gate: {'passed ' if check['passed'] else 'REFUSED'}  {check['reason']}")
    if made is not None:
        print_line(f"report: {made.report_path}")
        if made.report_url is not None:
            print_line(f"        {made.report_url} (while the service runs)")
        print_line(f"next: {made.next}")
    elif run.state == "succeeded":
        print_line("next: ringside profile, for what the data hold; the reasons above say what was not good enough")


def tell_findings(findings: Sequence[Mapping[str, Any]]) -> None:
    """What the guards found in the data, one line for each."""
    for finding in findings:
        about = "" if finding["column"] is None else f"{finding['column']}: "
        said = "ERROR  " if finding["severity"] == "error" else "warning"
        print_line(f"data: {said}  {finding['check']}: {about}{finding['message']}")


def _metric_row(name: str, own: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> list[str]:
    interval = f"{short(own['value'])} ({short(own['low'])} to {short(own['high'])})"
    return [name, interval, *(short(each[name]["value"]) if name in each else "-" for each in others)]


def lines(value: Any) -> list[str]:
    """A fact as short lines: one for each key of an object and each element of a list."""
    if isinstance(value, Mapping):
        return [f"{name}: {short(item)}" for name, item in value.items()]
    if isinstance(value, list):
        return [short(item) for item in value] or ["none"]
    return [short(value)]


def short(value: Any) -> str:
    """A value on one line; what is nested in it stands in brackets, so that one sees what belongs to what."""
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_nested(item)}" for name, item in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(_nested, value)) or "none"
    return "-" if value is None else str(value)


def _nested(value: Any) -> str:
    if isinstance(value, Mapping) and value:
        return f"{{{short(value)}}}"
    if isinstance(value, list | tuple) and value:
        return f"[{short(value)}]"
    return short(value)
