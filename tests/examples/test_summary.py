"""The demo's numbers are what they say: losses, ranks, policies, stories, and the price of caution."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from examples.flights.picture import draw, write_page
from examples.flights.replay import Tally
from examples.flights.scoring import Judged, auc, in_force, log_loss
from examples.flights.summary import HEADS, Story, Summary, _bout_story, beaten, month_rows, price, promises, told
from examples.flights.timeline import evidence_share, sentence
from record.bouts.bout import Bout
from record.event_log import RecordedEvent
from record.versions.model_version import ModelVersion
from tests.browser import browser, faults, pictures

AT = datetime(2013, 6, 1, tzinfo=UTC)


def judged(live: float, frozen: float, promote_all: float) -> Judged:
    """Flights that were all late, each policy always of the same opinion."""
    months = np.array([3, 3, 4])
    given = {"live": live, "frozen": frozen, "promote_all": promote_all}
    return Judged(months, np.ones(3), {name: np.full(3, p) for name, p in given.items()})  # type: ignore[misc]


def test_log_loss_of_a_coin_is_log_two() -> None:
    assert log_loss(np.array([1.0, 0.0]), np.array([0.5, 0.5])) == pytest.approx(np.log(2))


def test_log_loss_of_a_certain_mistake_is_finite() -> None:
    assert 13 < log_loss(np.array([1.0]), np.array([0.0])) < 14


def test_auc_counts_pairs_and_ties_half() -> None:
    assert auc(np.array([0.0, 1.0, 1.0]), np.array([0.1, 0.1, 0.9])) == pytest.approx(0.75)
    assert np.isnan(auc(np.array([1.0, 1.0]), np.array([0.1, 0.9])))


def test_promoting_at_once_answers_with_the_version_registered_last_before_the_request() -> None:
    registered = [(AT, "v1"), (AT + timedelta(days=1), "v2"), (AT + timedelta(days=1), "v3")]
    asked = [AT - timedelta(days=1), AT + timedelta(hours=1), AT + timedelta(days=1), AT + timedelta(days=2)]
    assert in_force(asked, registered) == ["v1", "v1", "v1", "v3"]


def test_the_table_has_a_row_for_each_month_and_one_for_all() -> None:
    rows = month_rows(judged(0.5, 0.4, 0.6))
    assert [row[:3] for row in rows] == [["Mar", "2", "100.0%"], ["Apr", "1", "100.0%"], ["all", "3", "100.0%"]]
    assert all(len(row) == len(HEADS) for row in rows)


def test_the_price_of_caution_is_printed_whichever_way_it_went() -> None:
    assert "cost nothing" in price(judged(0.6, 0.4, 0.5))
    assert "price of caution" in price(judged(0.5, 0.4, 0.6))
    assert "60%" in price(Judged(np.array([3]), np.ones(1), _chosen(live=0.7, frozen=1.0, promote_all=0.5)))


def _chosen(**losses: float) -> Any:
    return {name: np.exp(-np.array([loss])) for name, loss in losses.items()}


def version(name: str, standing: Any) -> ModelVersion:
    return ModelVersion(name, 2, AT, None, "v1", "0" * 64, {}, 0, None, standing, None)


def test_a_saboteur_that_answered_once_was_not_beaten() -> None:
    rejected = [version("v2", "rejected")]
    assert beaten("v2", rejected, Tally(answered_by=Counter(v1=9)))
    assert not beaten("v2", rejected, Tally(answered_by=Counter(v1=9, v2=1)))
    assert not beaten("v2", [version("v2", "eligible")], Tally())


def bout(state: Any, outcome: str | None) -> Bout:
    look = {"pairs": 812, "e_value": 99.1, "e_max": 130.5, "needed": 32.9}
    fields = (1, "challenge", "v2", "v1", 1, {"alpha": 0.03}, "h", AT, 0, state, outcome, AT, 0, 0, AT, look, None)
    return Bout("b1", *fields)  # type: ignore[arg-type]


def test_a_bout_is_told_with_pairs_evidence_and_outcome() -> None:
    assert told(bout("decided", "promote")) == {
        "version": "v2",
        "pairs": 812,
        "e_value": 99.1,
        "outcome": "promote",
    }
    assert told(bout("voided", None))["outcome"] == "void"
    assert told(bout("open", None))["outcome"] == "open"


def test_evidence_stands_on_a_logarithmic_scale_and_stays_on_it() -> None:
    assert evidence_share(0.0, 20) == 0.0
    assert 0.6 < evidence_share(1.0, 20) < 0.8
    assert evidence_share(20, 20) == evidence_share(1e9, 20) == 1.0


def test_a_promotion_is_told_and_the_first_champions_is_not() -> None:
    def promoted(previous: str | None) -> RecordedEvent:
        data = {"previous": previous, "reason": "", "generation": 1, "bout": None}
        return RecordedEvent(1, AT, AT, "model_promoted", "watcher", "v2", data, "", "")

    told_of = sentence(promoted("v1"))
    assert told_of is not None
    assert "v2 takes the ring from v1" in told_of[1]
    assert sentence(promoted(None)) is None


def test_the_page_holds_the_picture_and_escapes_what_it_tells(tmp_path: Path) -> None:
    scores = judged(0.5, 0.4, 0.6)
    draw(scores, [(AT, "v2")], tmp_path / "by_month.png")
    summary = Summary({"requests": 3}, month_rows(scores), [Story("v2", "<b>", ("lost",))], "none")
    write_page(summary, tmp_path / "by_month.png", tmp_path / "result.html")
    page = (tmp_path / "result.html").read_text()
    assert "data:image/png;base64,iVBOR" in page
    assert "&lt;b&gt;" in page


def test_the_page_is_read_on_a_screen_and_on_a_phone_by_day_and_by_night(tmp_path: Path) -> None:
    """Also where a month has no AUC, and evidence is great."""
    scores = judged(0.5, 0.4, 0.6)
    draw(scores, [(AT, "v2")], tmp_path / "by_month.png")
    look = {"pairs": 812, "e_value": 1.2e7, "lead": {"mean": 0.01, "low": 0.001, "high": 0.02}}
    fate = _bout_story(replace(bout("decided", "promote"), look=look), ())
    assert "evidence 12,000,000 of 33 after 812 pairs" in fate
    facts = {"requests": 283_104, "saboteur_rejected": True, "live_log_loss": 0.41234}
    summary = Summary(facts, month_rows(scores), [Story("v2", "gradient boosting on 9 rows", (fate,))], "none")
    write_page(summary, tmp_path / "by_month.png", tmp_path / "result.html")
    page = (tmp_path / "result.html").read_text()
    assert (">283,104<" in page, ">yes<" in page) == (True, True)
    with browser() as running:
        assert faults(running, page, pictures(), "result") == []


def test_what_was_not_shown_is_said_so() -> None:
    facts = {
        "failed_requests": 0,
        "requests": 10,
        "logged": 9,
        "retrains": 2,
        "promotions": 0,
        "saboteur_rejected": True,
        "live_log_loss": 0.5,
        "frozen_log_loss": 0.5,
    }
    assert [kept for _, kept in promises(facts)] == [True, False, True, False, True, False]
