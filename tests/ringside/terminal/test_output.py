"""Facts as a person reads them."""

from __future__ import annotations

from ringside.terminal.output import lines, short


def test_what_is_nested_stands_in_brackets() -> None:
    """Else nobody sees where the numbers end and the next fact begins."""
    data = {
        "numbers": {"a": 1, "b": [0.5, 2]},
        "reason": "late",
        "none": {},
        "pairs": [[1, 2], [3, 4]],
        "version": None,
    }
    assert short(data) == ("numbers {a 1, b [0.5, 2]}, reason late, none none, pairs [[1, 2], [3, 4]], version -")
    assert lines({"quality": {"auc": 0.75, "brier": 0.2}}) == ["quality: auc 0.75, brier 0.2"]
