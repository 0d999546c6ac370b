"""How much a run does: a new search, the champion's recipe on new rows, or the champion going on. Pure.

full          a search, then a fit of what it found
refit         the champion's pipeline and hyperparameters on today's rows
incremental   the champion's own estimator, going on with the rows that it has not seen
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

Mode = Literal["full", "refit", "incremental"]

# What the rows have done, or the calendar: the recipe is not in doubt. Whatever else asks (a decline, other code, a
# person) doubts it.
REFIT_FIRST = frozenset({"schedule", "new_rows", "drift", "max_age"})


@dataclass(frozen=True, slots=True)
class ModeFacts:
    """What the choice rests on."""

    asked: Mode | Literal["auto"]
    trigger: str
    champion: str | None  # None: there is none
    obstacle: str | None = None  # why the champion's recipe cannot be used again
    refused: bool = False  # the last run was no search, and its candidate was refused
    search_age: timedelta | None = None  # since the champion's recipe was searched for
    max_search_age: timedelta | None = None
    staleness_cost: float | None = None  # as the trigger reckoned, where prices are set
    run_cost: float | None = None


@dataclass(frozen=True, slots=True)
class ModeDecision:
    mode: Mode
    reasons: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {"mode": self.mode, "reasons": list(self.reasons)}


def choose_mode(facts: ModeFacts) -> ModeDecision:
    """The mode that was asked for, where it can be; of "auto", the cheapest that answers what triggered the run."""
    if facts.champion is None:
        return ModeDecision("full", ("there is no champion to begin from",))
    if facts.obstacle is not None and facts.asked != "full":
        return ModeDecision("full", (facts.obstacle,))
    if facts.asked != "auto":
        return ModeDecision(facts.asked, (f'retrain.mode = "{facts.asked}"',))
    if facts.refused:
        return ModeDecision("full", ("the last candidate, made without a search, was refused",))
    age, limit = facts.search_age, facts.max_search_age
    if age is not None and limit is not None and age >= limit:
        return ModeDecision("full", (f"the last search was {age.days} days ago, {limit.days} set (retrain.max_age)",))
    if facts.trigger not in REFIT_FIRST:
        return ModeDecision("full", (f"{facts.trigger} doubts the recipe",))
    if facts.staleness_cost is not None and facts.run_cost is not None and facts.staleness_cost >= facts.run_cost:
        price = f"staleness costs {facts.staleness_cost:.4g}, a search {facts.run_cost:.4g}"
        return ModeDecision("full", (f"a search pays: {price}",))
    return ModeDecision("refit", (f"{facts.trigger} is answered by {facts.champion}'s recipe on new rows first",))


def without_continuing(decision: ModeDecision, reason: str) -> ModeDecision:
    """The refit that an incremental run falls back to."""
    return ModeDecision("refit", (*decision.reasons, f"refit instead: {reason}"))


def refused_without_search(outcome: Mapping[str, Any] | None, version: str | None) -> bool:
    """Whether a run that ended so was no search, and its candidate was refused."""
    return outcome is not None and version is None and outcome.get("mode", {}).get("mode") in ("refit", "incremental")
