"""A decline is a loss that rose beyond what the card promised, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from monitoring.quality.decline import decide_decline, lower_bound
from monitoring.quality.promise import Promise
from monitoring.quality.rise import Rise

PROMISE = Promise(expected=0.15, highest=0.155, allowed=0.16, needed=40.0)
SEEN: dict[str, Any] = {"recent": 0.2, "lower": 0.18, "rows": 1000, "min_rows": 200}


@pytest.mark.parametrize(
    ("evidence", "changed", "declined"),
    [
        (Rise(50.0, 50.0), {}, True),
        (Rise(39.0, 39.0), {}, False),
        (Rise(1.0, 50.0), {}, True),  # evidence once reached stays reached
        (Rise(1.0, 50.0), {"recent": 0.15}, False),  # until the loss is allowed again
        (Rise(50.0, 50.0), {"rows": 199}, False),
    ],
)
def test_the_table(evidence: Rise, changed: dict[str, Any], declined: bool) -> None:
    decision = decide_decline("observed", PROMISE, evidence, **(SEEN | changed))
    assert decision.declined is declined
    assert decision.reasons


def test_the_numbers_of_a_decline_stand_in_it() -> None:
    decision = decide_decline("estimated", PROMISE, Rise(80.0, 90.0, 1000, 2.0), **SEEN)
    held = decision.to_json()
    assert held["evidence"] == {"value": 80.0, "peak": 90.0, "rows": 1000, "design_effect": 2.0, "entity_effect": 1.0}
    assert (held["allowed"], held["needed"], held["lower"]) == (0.16, 40.0, 0.18)
    assert decision.shown == 2.0
    assert decision.reasons[0].startswith("estimated loss 0.2000")


def test_a_promise_allows_for_what_the_holdout_does_not_know() -> None:
    """Half of alpha is for the holdout's own chance, half for the evidence; and the tolerance stands above both."""
    promise = Promise.of({"reference_loss": 0.15, "reference_loss_error": 0.01}, tolerance=0.05, alpha=0.05)
    assert promise is not None
    assert promise.highest == pytest.approx(0.15 + 1.96 * 0.01, abs=1e-4)
    assert promise.allowed == pytest.approx(promise.highest * 1.05)
    assert promise.needed == 40.0
    assert Promise.of({}, 0.05, 0.05) is None


def test_the_lower_bound_is_below_the_truth_at_every_look() -> None:
    """200 streams of 5,000, looked at every 50 rows: all looks together miss in at most a share alpha."""
    rng = np.random.default_rng(1)
    missed = 0
    for _ in range(200):
        values = rng.beta(1.2, 6, 5000)
        for rows in range(100, 5000, 50):
            mean, error = float(values[:rows].mean()), float(values[:rows].std(ddof=1)) / rows**0.5
            if lower_bound(mean, error, rows, 0.05) > 1.2 / 7.2:
                missed += 1
                break
    assert missed <= 0.05 * 200 + 3 * (200 * 0.05 * 0.95) ** 0.5
