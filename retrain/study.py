"""What a version's card keeps of its study, and what the next search begins with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from retrain.models.configuration import Configuration
from retrain.search import SearchReport
from retrain.trials.trial import TrialReport

# The champion's configuration and the few behind it: more would crowd out the defaults of the other families, which
# guard against data that has changed beyond them.
KEPT_TRIALS = 4
# Of an ensemble, the weightiest members: they are as good a beginning as any.
KEPT_MEMBERS = 3


def study_of(found: SearchReport) -> list[Mapping[str, Any]]:
    """The best trials, best first, as a card keeps them; the winner is the first where it is no ensemble."""
    finished = sorted(
        (trial for trial in found.trials if trial.loss is not None and not trial.configuration.members),
        key=lambda trial: (trial.loss or 0.0, trial.number),
    )
    return [trial.to_json() for trial in finished[:KEPT_TRIALS]]


def best_of_families(found: SearchReport) -> list[Mapping[str, Any]]:
    """Each family's best trial, and how many of it were `tried`: what a refused run leaves of its study."""
    held: dict[str, list[TrialReport]] = {}
    for trial in found.trials:
        held.setdefault(trial.configuration.family, []).append(trial)
    return [
        min(own, key=lambda trial: (trial.loss is None, trial.loss or 0.0, trial.number)).to_json()
        | {"tried": len(own)}
        for own in held.values()
    ]


def warm_start(card: Mapping[str, Any]) -> Sequence[Configuration]:
    """The card's own configuration or its members, then the best of its study, for a search to begin with."""
    own = Configuration.from_json(card)
    held = list(own.parts[:KEPT_MEMBERS]) if own is not None else []
    for trial in card.get("study", ()):
        other = Configuration.from_json(trial)
        if other is not None and other not in held:
            held.append(other)
    return held[:KEPT_TRIALS]
