"""An explanation as a person reads it in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from record.printable import print_json, print_line
from ringside.terminal.output import short, tell, tell_table

BAR = 24  # characters of the largest contribution
_HOW = {
    "first_version": "the first version",
    "bout": "it won a bout",
    "operator": "promoted by hand",
    "rollback": "restored by a rollback",
    "unknown": "not in the audit trail",
}


def tell_explanation(told: Mapping[str, Any], as_json: bool) -> None:
    """The facts one under the other, and then each feature's contribution as a bar; or the whole as JSON."""
    if as_json:
        print_json(told)
        return
    champion, label = told["champion"], told["label"]
    tell(
        {
            "id": told["id"],
            "requested at": told["requested_at"],
            "prediction": short(told["prediction"]),
            "probabilities": told["probabilities"],
            "answered by": f"{told['model_version']}, {short(told['model']['family'])}",
            "champion": _champion(champion),
            "challengers": [_challenger(each) for each in told["challengers"]],
            "label": "none yet" if label is None else f"{short(label['label'])}, received {label['received_at']}",
            "record": told["record"],
            "redacted": ", ".join(told["redacted"]) or "nothing",
        }
        | ({"earlier labels": [_earlier(each) for each in label["history"][:-1]]} if _corrected(label) else {}),
        False,
    )
    if told["attribution"] is not None:
        print_line()
        _tell_attribution(told["attribution"])


def _champion(champion: Mapping[str, Any]) -> list[str]:
    event, bout = champion["event"], champion["bout"]
    held = [f"{_HOW[champion['how']]}, since {short(champion['since'])}, until {champion['until'] or 'now'}"]
    if event is not None:
        held.append(f"event {event['seq']} by {event['actor']}: {event['data'].get('reason', '')}")
    if bout is not None:
        evidence = bout["evidence"] or {}
        numbers = {name: evidence[name] for name in ("pairs", "e_value", "needed", "lead") if name in evidence}
        held.append(f"bout {bout['bout']} of {bout['challenger']} against {bout['champion']}: {short(numbers)}")
    return held


def _challenger(said: Mapping[str, Any]) -> str:
    answer = said["said"] if said["said"] != "scored" else short(said["prediction"])
    return f"{said['version']} in {said['bout']} ({said['kind']}): {answer}  {short(said['probabilities'] or {})}"


def _corrected(label: Mapping[str, Any] | None) -> bool:
    return label is not None and len(label["history"]) > 1


def _earlier(label: Mapping[str, Any]) -> str:
    return f"{short(label['label'])}, received {label['received_at']}"


def _tell_attribution(found: Mapping[str, Any]) -> None:
    of = "the value" if found["of"] == "value" else f"the probability of {short(found['class'])}"
    moved = found["contributions"]
    largest = max([abs(each["contribution"]) for each in moved], default=0.0) or 1.0
    rows = [
        [
            each["feature"],
            short(each["value"]),
            f"{each['contribution']:+.5f}",
            "-" if each["error"] is None else f"± {each['error']:.5f}",
            ("+" if each["contribution"] > 0 else "-") * round(BAR * abs(each["contribution"]) / largest),
        ]
        for each in moved
    ]
    print_line(f"what moved {of}: {found['base']:.5f} on average, {found['prediction']:.5f} here")
    tell_table(["feature", "value", "contribution", "error", ""], rows)
    notes = [
        found["method"] + (", exact" if found["exact"] else ", by sampled orders"),
        f"against {found['background_rows']} rows of the version's reference",
        "the model says the same again" if found["reproduced"] else "THE MODEL SAYS SOMETHING ELSE THAN WAS LOGGED",
    ]
    if not found["complete"]:
        notes.append("cut short by time")
    print_line("; ".join(notes))
