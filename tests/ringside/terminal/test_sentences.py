"""Events and bouts in words: nothing that matters is cut away."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ringside.terminal.sentences import challenger_lines, cut, event_words, expectation

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(st.text(max_size=9), inner, max_size=30),
    max_leaves=60,
)


@given(st.text(max_size=400), st.integers(20, 120))
def test_a_text_is_cut_in_its_middle_and_keeps_both_ends(text: str, longest: int) -> None:
    told = cut(text, longest)
    assert len(told) <= max(len(text), longest)
    side = (longest - 5) // 2
    if len(text) > longest:
        assert told.startswith(text[:side].rstrip())
        assert told.endswith(text[-side:].lstrip())
    else:
        assert told == text


@given(st.dictionaries(st.text("abc_", min_size=1, max_size=8), values, max_size=8))
def test_no_long_value_hides_what_stands_behind_it(data: dict[str, Any]) -> None:
    """The last plain fact of an event is on its line whatever else the event holds, and the line has an end."""
    data = {**data, "outcome": "awaiting_approval"}
    words = event_words(data)
    assert "outcome awaiting_approval" in words
    assert len(words) <= 120 * len(data)


def facts(**changed: Any) -> dict[str, Any]:
    held: dict[str, Any] = {
        "version": "v3",
        "bout": "b2",
        "state": "testing",
        "pairs": 4500,
        "e_value": 0.65203,
        "e_max": 1.5e14,
        "needed": 131.59,
        "lead": {"low": -0.0074, "mean": 0.0017, "high": 0.0107},
        "labels_to_go": 203_085,
        "expected_at": "2027-05-01T00:00:00Z",
        "deadline_at": "2026-12-24T00:00:00Z",
        "missing": ["79.0% of mature requests are labelled; 80.0% are needed"],
        "approval": None,
    }
    return held | changed


def test_a_challenger_says_its_evidence_now_its_most_what_is_missing_and_the_date() -> None:
    assert challenger_lines(facts()) == [
        "v3 in b2: testing; 4500 pairs, evidence 0.652 now, at most 1.5e+14, 131.6 needed; "
        "lead +0.0017 (-0.0074 to +0.0107)",
        "  missing: 79.0% of mature requests are labelled; 80.0% are needed",
        "  about 203,085 labels to go if it goes on as it did: 2027-05-01 00:00 UTC; its deadline is "
        "2026-12-24 00:00 UTC, which it would miss",
    ]


def test_a_challenger_that_won_says_what_to_run() -> None:
    approval = {
        "requested_at": "2026-11-29T21:36:00Z",
        "expires_at": None,
        "approvers": ["ada"],
        "approve": 'ringside promote v3 --reason "…"',
        "refuse": 'ringside reject v3 --reason "…"',
    }
    lines = challenger_lines(facts(state="awaiting_approval", missing=[], labels_to_go=0, approval=approval))
    assert lines[0].startswith("v3 in b2: awaiting approval; ")
    assert lines[1:] == [
        "  awaits approval by ada since 2026-11-29 21:36 UTC",
        '  next: ringside promote v3 --reason "…"  or  ringside reject v3 --reason "…"',
    ]


def test_without_pairs_there_is_no_date() -> None:
    assert expectation(facts(labels_to_go=200, expected_at=None)) == "about 200 labels to go if it goes on as it did"
