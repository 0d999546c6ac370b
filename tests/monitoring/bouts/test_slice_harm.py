"""A slice that a challenger harms holds its promotion, by the evidence of bouts, and however many slices there are."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.bouts.slice_harm import MISSING, MOST_VALUES, OTHERS, SliceColumn, SliceHarm, slice_columns
from tests.monitoring.arena import START, TOML, Arena, logistic

GROUP = (SliceColumn("group"),)


def records(values: list[object]) -> list[str]:
    return [json.dumps({"group": value}) for value in values]


def test_a_harmed_group_is_found_while_the_whole_is_better() -> None:
    rng = np.random.default_rng(1)
    small = rng.random(4_000) < 0.15
    better = np.where(small, rng.random(4_000) < 0.3, rng.random(4_000) < 0.7)
    differences = np.where(better, 0.4, -0.4)
    assert differences.mean() > 0.05
    harm = SliceHarm.start(GROUP, 0.02)
    harm.add(records(["small" if each else "large" for each in small]), differences)
    worst, other = harm.read(0.05)
    assert (worst.value, worst.harmed, worst.needed) == ("small", True, 2 / 0.05)
    assert not other.harmed
    assert worst.words.startswith("group = small is harmed: lead -0.1")


def test_slices_that_are_not_harmed_hold_at_most_a_share_alpha_of_bouts() -> None:
    """Ten groups, in each of which the challenger is worse by just what is tolerated."""
    rng = np.random.default_rng(2)
    held = 0
    for _ in range(120):
        harm = SliceHarm.start(GROUP, 0.02)
        groups = rng.integers(0, 10, 1_000)
        differences = rng.choice([1.0, 0.0, -1.0], 1_000, p=[0.09, 0.8, 0.11])
        found = False
        for start in range(0, 1_000, 250):
            part = slice(start, start + 250)
            harm.add(records([str(group) for group in groups[part]]), differences[part])
            found = found or harm.read(0.05)[0].harmed
        held += found
    assert held <= 120 * 0.05 + 3 * (120 * 0.05 * 0.95) ** 0.5


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", None, *map(str, range(30))]), st.floats(-1, 1)), max_size=60),
    st.lists(st.integers(0, 60), max_size=4),
)
def test_the_sums_are_the_same_in_whatever_parts_the_pairs_arrive(
    pairs: list[tuple[str | None, float]], ends: list[int]
) -> None:
    whole, parts = SliceHarm.start(GROUP, 0.02), SliceHarm.start(GROUP, 0.02)
    told, differences = records([value for value, _ in pairs]), np.array([d for _, d in pairs])
    whole.add(told, differences)
    places = [0, *sorted(min(end, len(pairs)) for end in ends), len(pairs)]
    for start, stop in pairwise(places):
        parts.add(told[start:stop], differences[start:stop])
        parts = SliceHarm.from_json(json.loads(json.dumps(parts.to_json())), GROUP, 0.02)
    assert parts.to_json() == whole.to_json()


def test_of_many_values_the_later_ones_are_one_slice_and_none_is_missing() -> None:
    harm = SliceHarm.start(GROUP, 0.0)
    harm.add(records([*map(str, range(40)), None]), np.zeros(41))
    values = [each.value for each in harm.read(0.05)]
    assert len(values) == MOST_VALUES + 1
    assert OTHERS in values
    few = SliceHarm.start(GROUP, 0.0)
    few.add(records(["a", None]), np.zeros(2))
    assert {each.value for each in few.read(0.05)} == {"a", MISSING}


@pytest.mark.parametrize(
    ("value", "name"), [(1, "below 20.8"), (20.8, "from 20.8 below 40.6"), (99, "from 80.2"), ("x", "x"), (None, None)]
)
def test_a_number_is_cut_into_fifths_of_the_newest_requests(value: object, name: str | None) -> None:
    (column,) = slice_columns(["n"], [json.dumps({"n": n}) for n in range(1, 101)])
    assert column.slice_of({"n": value}) == name
    assert replace(column, cuts=()).slice_of({"n": 5}) == "5"


def test_a_bout_looks_at_the_configured_slices_and_a_harmed_one_holds_it(tmp_path: Path) -> None:
    """The champion knows the truth, the challenger its opposite: every slice of x is harmed, and says so."""
    toml = TOML + 'slices = ["x"]\n'
    arena = Arena.build(tmp_path, toml=toml)
    arena.register(logistic(0.3))
    arena.label(arena.ask(300, START))
    bout = arena.challenge(1.0, START + timedelta(days=1))
    assert [column["name"] for column in bout.design["slices"]] == ["x"]
    assert len(bout.design["slices"][0]["cuts"]) == 4
    arena.label(arena.ask(60, START + timedelta(days=2)))
    arena.settle(START + timedelta(days=3))
    look = arena.look(bout)
    assert sum(each["pairs"] for each in look["slices"]) == look["pairs"] == 60
    assert all(each["needed"] == len(look["slices"]) / 0.05 for each in look["slices"])
