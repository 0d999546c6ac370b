"""What becomes of a group of batches, decided without any database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from record.clock import from_micros, to_micros
from record.errors import IdConflict
from record.log.plan import Known, Plan, Stamp, arrivals, plan
from record.logged import Answer, Batch, LogEntry

NOON = to_micros(datetime(2024, 5, 1, 12, tzinfo=UTC))
WINDOW = 30 * 86_400_000_000
STAMP = Stamp(xid=7, answered_at=NOON + 999, window=WINDOW)


def entry(id: str, digest: bytes = b"same", prediction: str = '"yes"') -> LogEntry:
    return LogEntry(id, digest, '{"x":1}', prediction, '{"yes":0.75}', '{"x":"unseen"}', 120)


def batch(*entries: LogEntry, version: str = "v1", client_ids: bool = True) -> Batch:
    return Batch(entries, version, None, client_ids)


def planned(
    *batches: Batch,
    times: Sequence[int] | None = None,
    known: Mapping[str, Known] | None = None,
    stamp: Stamp = STAMP,
) -> Plan:
    """Numbered from 101 on."""
    seqs = range(101, 101 + sum(len(each.entries) for each in batches))
    return plan(batches, times or [NOON] * len(batches), seqs, known or {}, stamp)


def known(digest: bytes, at: int, seq: int = 9) -> Known:
    return Known(digest, at, Answer("a", "v0", '"no"', None, seq, False))


def test_a_row_says_when_it_was_asked_and_when_it_was_answered() -> None:
    """Two clocks: the requests' and the machine's; by the second one, labels and snapshots become visible."""
    made = planned(batch(entry("a")), times=[NOON])
    assert made.rows == [
        (101, 7, "a", NOON, NOON + 999, "v1", '{"x":1}', '"yes"', '{"yes":0.75}', '{"x":"unseen"}', 120)
    ]
    assert made.ids == [("a", 101, b"same", NOON)]
    assert made.outcomes == [[Answer("a", "v1", '"yes"', '{"yes":0.75}', 101, False)]]


@pytest.mark.parametrize(("age", "repeated"), [(0, True), (WINDOW - 1, True), (WINDOW, True), (WINDOW + 1, False)])
@pytest.mark.parametrize("digest", [b"same", b"other"])
def test_an_id_is_taken_for_the_whole_window_and_free_behind_it(age: int, repeated: bool, digest: bytes) -> None:
    """Within it the same record gets the answer given first, and another is refused; later the id is new."""
    (outcome,) = planned(batch(entry("a")), known={"a": known(digest, NOON - age)}).outcomes
    if not repeated:
        assert outcome == [Answer("a", "v1", '"yes"', '{"yes":0.75}', 101, False)]
    elif digest == b"same":
        assert outcome == [Answer("a", "v0", '"no"', None, 9, True)]
    else:
        assert isinstance(outcome, IdConflict)
        assert outcome.ids == ["a"]


def test_an_id_used_again_behind_its_window_is_judged_by_its_new_use() -> None:
    """By what this group answered, not by what the log has of it from long ago."""
    old = {"a": known(b"old", NOON - WINDOW - 1)}
    first, again, third = planned(
        batch(entry("a", b"new")), batch(entry("a", b"new", '"no"')), batch(entry("a", b"old")), known=old
    ).outcomes
    assert first == [Answer("a", "v1", '"yes"', '{"yes":0.75}', 101, False)]
    assert again == [Answer("a", "v1", '"yes"', '{"yes":0.75}', 101, True)]
    assert isinstance(third, IdConflict)


def test_this_group_s_use_counts_before_the_log_s() -> None:
    """The log's use lies within the window of the second batch, whose time is earlier; the first has replaced it."""
    old = {"a": known(b"old", NOON - WINDOW - 1)}
    first, again = planned(
        batch(entry("a", b"new")), batch(entry("a", b"new")), times=[NOON, NOON - 1], known=old
    ).outcomes
    assert isinstance(first, list)
    assert isinstance(again, list)
    assert [answer.seq for answer in [*first, *again]] == [101, 101]


def test_a_refused_batch_leaves_nothing_and_the_others_are_logged() -> None:
    """Its numbers stay unused, its ids free for those behind it."""
    made = planned(
        batch(entry("a"), entry("b")),
        batch(entry("c"), entry("b", b"other"), entry("a", b"other"), entry("d")),
        batch(entry("c", b"third")),
    )
    refused = made.outcomes[1]
    assert isinstance(refused, IdConflict)
    assert refused.ids == ["b", "a"], "each once, in the order in which they stand"
    assert [row[0] for row in made.rows] == [101, 102, 107]
    assert [id for id, *_ in made.ids] == ["a", "b", "c"]


def test_an_id_twice_in_one_batch_is_one_row_or_a_conflict_with_itself() -> None:
    same, other = planned(
        batch(entry("a"), entry("a", prediction='"no"')), batch(entry("b"), entry("c"), entry("b", b"other"))
    ).outcomes
    assert isinstance(same, list)
    assert [(answer.seq, answer.prediction, answer.repeated) for answer in same] == [
        (101, '"yes"', False),
        (101, '"yes"', True),
    ]
    assert isinstance(other, IdConflict)
    assert other.ids == ["b"]


def test_ids_of_the_service_s_own_are_not_looked_up() -> None:
    """Nobody can have used them before; each is a row."""
    made = planned(
        batch(entry("a"), entry("b"), client_ids=False), batch(entry("c")), known={"a": known(b"other", NOON)}
    )
    assert [row[0] for row in made.rows] == [101, 102, 103]
    assert made.outcomes[0] == [
        Answer("a", "v1", '"yes"', '{"yes":0.75}', 101, False),
        Answer("b", "v1", '"yes"', '{"yes":0.75}', 102, False),
    ]


def at(hours: int | None) -> Batch:
    return Batch((), "v1", None if hours is None else from_micros(NOON) + timedelta(hours=hours))


HOUR = 3_600_000_000


@pytest.mark.parametrize(
    ("given", "clock", "expected"),
    [
        ([None, 1], None, [100, 1]),  # on the machine's clock each arrives when it says, or now
        ([2, 1], None, [2, 1]),
        ([None], 5, [5]),  # on the requests', one without a time arrives where the clock stands
        ([None, 7, None], 5, [5, 7, 7]),
        ([7, None, 6, 8], 5, [7, 7, 7, 8]),  # and it never goes back
        ([3], 5, [5]),
        ([5], 5, [5]),
    ],
)
def test_when_batches_arrive(given: list[int | None], clock: int | None, expected: list[int]) -> None:
    """A batch without a time moves nobody's clock to the machine's."""
    found = arrivals([at(hours) for hours in given], NOON + 100 * HOUR, None if clock is None else NOON + clock * HOUR)
    assert [(moment - NOON) // HOUR for moment in found] == expected
