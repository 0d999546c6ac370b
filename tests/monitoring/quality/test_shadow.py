"""Two versions side by side answer the same requests, and are judged by one loss."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from monitoring.price import Stakes
from monitoring.quality.cohort import cohort_of
from monitoring.quality.loss import Loss
from monitoring.quality.shadow import side_by_side
from record.bouts.bout import ShadowScore
from tests.monitoring.answers import AS_OF, NUMBER, row


def beside(errors: np.ndarray, theirs: np.ndarray, answered: np.ndarray, scale: float) -> Any:
    """The champion errs by `errors`, the challenger by `theirs` where it `answered`; its own card has another scale."""
    known = cohort_of([row(float(error), 0.0, place=place) for place, error in enumerate(errors)], NUMBER)
    scores = {
        int(seq): ShadowScore(int(seq), "scored", str(float(error)))
        for seq, error, use in zip(known.seqs, theirs, answered, strict=True)
        if use
    }
    bout = SimpleNamespace(bout="b1", kind="challenge", challenger="v2", after_seq=-1)
    version = SimpleNamespace(version="v2", card={"loss_scale": scale / 4})
    record = SimpleNamespace(
        bouts=SimpleNamespace(
            opened=lambda: [bout], scores=lambda _, seqs: {s: scores[s] for s in seqs if s in scores}
        ),
        registry=SimpleNamespace(version=lambda _: version),
    )
    subject = SimpleNamespace(version=SimpleNamespace(version="v1"), loss=Loss("absolute", scale), threshold=None)
    subjects = SimpleNamespace(schema=lambda _: NUMBER)
    return side_by_side(cast(Any, record), cast(Any, subjects), cast(Any, subject), known, AS_OF)


def test_a_better_challenger_looks_better_whatever_its_own_scale_is() -> None:
    """It errs by nine tenths of what the champion does, answered the hard half only, and has a narrower scale."""
    rng = np.random.default_rng(0)
    errors = np.concatenate([rng.uniform(0, 1, 200), rng.uniform(1, 3, 200)])
    found = beside(errors, 0.9 * errors, np.arange(400) >= 200, scale=4.0)
    ours, theirs = found.reports["champion_beside_challenger"], found.reports["challenger"]
    assert ours.labelled == theirs.labelled == 200
    assert theirs.metrics["loss"].value == pytest.approx(0.9 * ours.metrics["loss"].value)
    assert theirs.metrics["mae"].value == pytest.approx(0.9 * ours.metrics["mae"].value)
    assert found.differences["challenger"].high < 0


def test_nothing_is_compared_where_nothing_was_answered() -> None:
    found = beside(np.ones(10), np.ones(10), np.zeros(10, dtype=bool), scale=4.0)
    assert found.differences == {}


@pytest.mark.parametrize("unit", [3.0, 30.0])
def test_a_rise_is_priced_in_units_of_the_target_whatever_the_champions_scale(unit: float) -> None:
    """A rise of six units: a fifth of a loss of 30, or twice a loss of 3 (as far as it goes)."""
    rise = 6.0 / unit
    numbers = {
        "declines": {"observed": {"lower": rise + 0.1, "highest": 0.1}},
        "requests_per_day": 5.0,
        "loss_unit": unit,
    }
    assert Stakes.of_check(numbers).rise == pytest.approx(6.0)
