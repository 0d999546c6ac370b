"""How much a run does: the mode that was asked for, or the cheapest that answers what triggered it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from retrain.mode import ModeFacts, choose_mode, refused_without_search

AUTO = ModeFacts("auto", "schedule", "v1", max_search_age=timedelta(days=90))


@pytest.mark.parametrize("trigger", ["schedule", "new_rows", "drift", "max_age"])
def test_new_rows_are_answered_by_a_refit_first(trigger: str) -> None:
    decided = choose_mode(replace(AUTO, trigger=trigger))
    assert decided.mode == "refit"
    assert trigger in decided.reasons[0]


@pytest.mark.parametrize("trigger", ["quality", "estimated", "change", "operator", "command", "alert", "price"])
def test_whatever_doubts_the_recipe_searches(trigger: str) -> None:
    assert choose_mode(replace(AUTO, trigger=trigger)).mode == "full"


def test_a_refused_refit_is_followed_by_a_search() -> None:
    assert choose_mode(replace(AUTO, refused=True)).mode == "full"
    assert refused_without_search({"mode": {"mode": "refit"}}, None)
    assert not refused_without_search({"mode": {"mode": "refit"}}, "v2")
    assert not refused_without_search({"mode": {"mode": "full"}}, None)
    assert not refused_without_search(None, None)


def test_an_old_recipe_is_searched_for_anew() -> None:
    """retrain.max_age counts from the search, however often its recipe was fitted since."""
    assert choose_mode(replace(AUTO, search_age=timedelta(days=89))).mode == "refit"
    assert choose_mode(replace(AUTO, search_age=timedelta(days=90))).mode == "full"


def test_a_search_that_pays_is_made() -> None:
    """By the trigger's own reckoning."""
    assert choose_mode(replace(AUTO, staleness_cost=4.0, run_cost=5.0)).mode == "refit"
    assert choose_mode(replace(AUTO, staleness_cost=6.0, run_cost=5.0)).mode == "full"


def test_a_mode_that_was_asked_for_is_the_mode() -> None:
    """But where there is nothing to fit again."""
    assert choose_mode(replace(AUTO, asked="incremental", trigger="quality")).mode == "incremental"
    assert choose_mode(replace(AUTO, asked="refit", champion=None)).mode == "full"
    refused = choose_mode(replace(AUTO, asked="refit", obstacle="the family is left out"))
    assert (refused.mode, refused.reasons) == ("full", ("the family is left out",))
