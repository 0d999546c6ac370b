"""What a run says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from retrain import telling
from retrain.telling import Teller


def test_time_left_of_a_number_of_trials_follows_their_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials of an earlier process count as done, and not for the pace; the metric is named."""
    now = [100.0]
    monkeypatch.setattr(telling.time, "monotonic", lambda: now[0])
    told: list[Mapping[str, Any]] = []
    teller = Teller(told.append, "regression")
    teller.trial(10, 20, 3.0, None)
    assert told[-1]["seconds_left"] is None
    for done in range(11, 15):
        now[0] += 2.0
        teller.trial(done, 20, 2.5, None)
    assert told[-1] == {
        "stage": "search", "done": 14, "total": 20, "metric": "rmse", "best": 2.5, "seconds_left": 12.0
    }  # fmt: skip


def test_a_budgets_time_left_is_the_budgets() -> None:
    told: list[Mapping[str, Any]] = []
    Teller(told.append, "classification").trial(0, None, None, 51.26)
    assert told == [
        {"stage": "search", "done": 0, "total": None, "metric": "log_loss", "best": None, "seconds_left": 51.3}
    ]
