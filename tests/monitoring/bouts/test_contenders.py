"""Who is due for a bout, and whom a new champion is on probation against: from versions, roles and bouts alone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from monitoring.bouts.contenders import Unbarred, contenders, former_champion, read_unbarred
from record.bouts.bout import Bout
from record.clock import ManualClock
from record.db.database import Database
from record.event_log import EventLog
from record.events import ModelPromoted, ModelUnbarred
from record.registry import ModelVersion, Roles, Standing

START = datetime(2013, 3, 1, tzinfo=UTC)


def versions(*standings: Standing) -> list[ModelVersion]:
    """v1, v2 …"""
    return [
        ModelVersion(f"v{number}", number, START, None, None, "", {}, 0, None, standing, None)
        for number, standing in enumerate(standings, 1)
    ]


def roles(champion: str | None, previous: str | None = None, generation: int = 1) -> Roles:
    return Roles(champion, previous, generation, START)


def bout(number: int, challenger: str, **changes: Any) -> Bout:
    facts: dict[str, Any] = {
        "bout": f"b{number}",
        "number": number,
        "kind": "challenge",
        "challenger": challenger,
        "champion": "v1",
        "generation": 1,
        "design": {},
        "design_hash": "",
        "opened_at": START,
        "after_seq": 0,
        "state": "open",
        "outcome": None,
        "decided_at": None,
        "cursor_xid": 0,
        "cursor_seq": 0,
        "matured_until": None,
        "look": None,
        "heartbeat_at": None,
    }
    return Bout(**(facts | changes))


def due(*arguments: Any, **more: Any) -> list[str]:
    return [version.version for version in contenders(*arguments, **more)]


FIVE = versions(*["eligible"] * 5)


@pytest.mark.parametrize(
    ("room", "names"), [(-1, []), (0, []), (1, ["v5"]), (2, ["v5", "v4"]), (4, ["v5", "v4", "v3", "v2"]), (9, 4)]
)
def test_the_newest_go_first_as_far_as_there_is_room(room: int, names: list[str] | int) -> None:
    expected = ["v5", "v4", "v3", "v2"] if isinstance(names, int) else names
    assert due(FIVE, roles("v1"), [], room) == expected


@pytest.mark.parametrize(("most", "names"), [(1, []), (2, []), (3, []), (4, ["v5"])])
def test_a_limit_lowered_below_the_open_ones_opens_nothing(most: int, names: list[str]) -> None:
    """Three are open: there is no room before a fourth is allowed."""
    opened = [bout(1, "v2"), bout(2, "v3"), bout(3, "v4")]
    assert due(FIVE, roles("v1"), opened, most) == names


def test_a_probation_takes_no_challenger_s_place() -> None:
    """Nor do bouts that have ended."""
    probation = bout(1, "v1", kind="probation", champion="v2")
    ended = bout(2, "v3", champion="v2", state="decided", outcome="inconclusive")
    assert due(FIVE, roles("v2", "v1"), [probation, ended], 1) == ["v5"]


def test_whoever_was_judged_is_not_judged_again_and_whose_bout_was_voided_is() -> None:
    """Against another champion, too: the requests are the same."""
    judged = bout(1, "v3", champion="v0", state="decided", outcome="inconclusive")
    voided = bout(2, "v4", state="voided", outcome="voided")
    former = bout(3, "v5", kind="probation")  # it was once champion: that was no challenge
    assert due(FIVE, roles("v1"), [judged, voided, former], 9) == ["v5", "v4", "v2"]


def test_only_eligible_versions_newer_than_the_champion_are_due() -> None:
    mixed = versions("eligible", "eligible", "rejected", "rolled_back", "eligible")
    assert due(mixed, roles("v2", "v1"), [], 9) == ["v5"]
    assert due(mixed, roles("v5", "v2"), [], 9) == []
    assert due(mixed, roles(None), [], 9) == []


@pytest.mark.parametrize(("judged_in", "again"), [(6, True), (7, True), (8, False)])
def test_a_lifted_bar_makes_a_version_due_until_it_is_judged_again(judged_in: int, again: bool) -> None:
    """Bouts up to the one of then, itself included, count no more; a later one does."""
    bouts = [bout(judged_in, "v2", state="decided", outcome="rejected")]
    lifted = {"v2": Unbarred(after_bout=7, after_seq=100)}
    assert due(versions("eligible", "eligible"), roles("v1"), bouts, 9, unbarred=lifted) == (["v2"] if again else [])
    assert due(versions("eligible", "eligible"), roles("v1"), bouts, 9) == []


def former(held: Sequence[ModelVersion], standing: Roles, *bouts: Bout) -> str | None:
    found = former_champion(held, standing, bouts)
    return None if found is None else found.version


def test_every_promotion_has_a_probation_of_its_own() -> None:
    """The second one, too, and one back to an earlier champion; but one only, however it ended."""
    first = bout(1, "v1", kind="probation", champion="v2", generation=2, state="decided", outcome="passed")
    assert former(FIVE, roles("v2", "v1", 2)) == "v1"
    assert former(FIVE, roles("v2", "v1", 2), first) is None
    assert former(FIVE, roles("v3", "v2", 3), first) == "v2"
    second = bout(2, "v2", kind="probation", champion="v3", generation=3)
    assert former(FIVE, roles("v3", "v2", 3), first, second) is None
    assert former(FIVE, roles("v2", "v3", 4), first, second) == "v3"
    challenge = bout(3, "v5", champion="v2", generation=4)
    assert former(FIVE, roles("v2", "v3", 4), first, second, challenge) == "v3", "a challenge is no probation"


@pytest.mark.parametrize("standing", ["rejected", "rolled_back"])
def test_a_barred_former_champion_is_no_measure(standing: Standing) -> None:
    """Nobody could be sent back to it: its bout could only wait."""
    assert former(versions(standing, "eligible"), roles("v2", "v1", 2)) is None


def test_after_a_rollback_nobody_is_on_probation() -> None:
    assert former(versions("eligible", "rolled_back"), roles("v1", None, 3)) is None


def test_the_last_lifted_bar_of_each_version_counts(sqlite_database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """On whichever page of the trail it stands, and among other events."""
    monkeypatch.setattr("record.event_log.LONGEST_PAGE", 3)
    log = EventLog(sqlite_database, ManualClock(START))

    def lift(version: str, after_bout: int) -> ModelUnbarred:
        return ModelUnbarred(
            reason="r", standing="rejected", because=None, after_bout=after_bout, after_seq=7, model_version=version
        )

    assert read_unbarred(log) == {}
    with log.writing() as connection:
        for number in range(7):
            log.append(lift("v2" if number % 2 else "v3", number), actor="ann", connection=connection)
        promoted = ModelPromoted(reason="r", previous=None, generation=1, model_version="v4")
        log.append(promoted, actor="ann", connection=connection)
    assert read_unbarred(log) == {"v2": Unbarred(5, 7), "v3": Unbarred(6, 7)}
