"""What a command says of a run while it works."""

from __future__ import annotations

import pytest

from retrain.progress import progress_facts, progress_shown


def test_progress_into_a_file_is_lines_and_few(capfd: pytest.CaptureFixture[str]) -> None:
    """One at each new stage, with the metric's name; not one for each trial."""
    with progress_shown() as show:
        show({"stage": "read", "done": 0, "total": None, "metric": "log_loss", "best": None, "seconds_left": None})
        for done in range(1, 30):
            show(
                {"stage": "search", "done": done, "total": 40, "metric": "log_loss", "best": 0.25, "seconds_left": 9.0}
            )
        show({"stage": "judge", "done": 40, "total": 40, "metric": "log_loss", "best": 0.25, "seconds_left": None})
    said = capfd.readouterr().err.splitlines()
    assert said == [
        "read",
        "search: 1 of 40 trials, best log_loss 0.25, 9 s left",
        "judge: 40 trials, best log_loss 0.25",
    ]


def test_time_left_is_in_words() -> None:
    assert progress_facts({"seconds_left": 61.4}) == "61 s left"
    assert progress_facts({"seconds_left": 754.0}) == "12 min 34 s left"
