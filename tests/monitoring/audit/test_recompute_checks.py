"""Drift, quality, its declines and rollbacks made again from the record; and decided again under other settings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from monitoring.audit.recompute import Auditor
from monitoring.audit.verdict import Verdict
from monitoring.audit.what_if import Answer, WhatIf, overlaid
from record.db.tables import events, labels, predictions
from tests.monitoring.arena import HORIZON, START, Arena, logistic
from tests.monitoring.test_watcher import DAILY
from tests.monitoring.watch_house import WatchHouse

DAY = timedelta(days=1)
CHECKS = ("drift_checked", "drift_detected", "quality_checked", "quality_declined", "concept_drift_detected")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[WatchHouse]:
    """A quiet day, then one whose x has moved; the champion is far too sure from the first request on."""
    house = WatchHouse(tmp_path, toml=DAILY, every="1d")
    house.register(5.0, reference_loss=0.1)
    watcher = house.leader()
    house.to(START)
    watcher.tick()
    for day, shift in enumerate((0.0, 3.0)):
        house.traffic(1.0, start=START + day * DAY, shift=shift)
        house.to(START + (day + 1) * DAY)
        watcher.tick()
        for run in house.runs:  # a decline has asked for it, and the watcher waits for its end
            if run.code is None:
                run.fail()
        watcher.tick()
    yield house
    house.record.close()


def verdicts(house: WatchHouse) -> list[Verdict]:
    return list(Auditor(house.record, house.settings).verdicts())


def what_if(house: WatchHouse, folder: Path, toml: str) -> dict[str, list[Answer]]:
    (folder / "other.toml").write_text(toml)
    found = WhatIf(house.record, house.settings, overlaid(house.settings, folder / "other.toml")).answers()
    told: dict[str, list[Answer]] = {}
    for answer in found:
        told.setdefault(answer.kind, []).append(answer)
    return told


def test_drift_quality_and_declines_are_made_again_to_the_same_bytes(house: WatchHouse) -> None:
    found = verdicts(house)
    states = {(one.kind, one.state) for one in found}
    assert {kind for kind, _ in states} >= set(CHECKS)
    assert {state for kind, state in states if kind in CHECKS} == {"same"}, [
        one.to_json() for one in found if one.state != "same"
    ]


@pytest.mark.parametrize(
    ("what", "kinds"),
    [
        ("a request", {"drift_checked", "drift_detected"}),
        ("labels", {"quality_checked", "quality_declined"}),
        ("an event", {"drift_checked"}),
    ],
)
def test_what_is_changed_behind_a_check_is_named(house: WatchHouse, what: str, kinds: set[str]) -> None:
    """The first decision that no longer follows is a decision of that check."""
    last = house.record.log.last_seq()
    with house.record.database.write() as connection:
        if what == "a request":
            moved = json.dumps({"x": 7.5, "who": "somebody"})
            connection.execute(sa.update(predictions).where(predictions.c.seq > last - 300).values(record=moved))
        elif what == "labels":
            connection.execute(sa.update(labels).where(labels.c.label_seq < 200).values(label='"no"'))
        else:
            found = connection.execute(sa.select(events.c.data).where(events.c.kind == "drift_checked")).scalars().all()
            told = found[-1] if isinstance(found[-1], dict) else json.loads(found[-1])
            changed = {**told, "drifted": []}
            changed = changed if isinstance(found[-1], dict) else json.dumps(changed)
            last_check = sa.select(sa.func.max(events.c.seq)).where(events.c.kind == "drift_checked").scalar_subquery()
            connection.execute(sa.update(events).where(events.c.seq == last_check).values(data=changed))
    differing = [one for one in verdicts(house) if one.state == "differs"]
    assert differing
    assert kinds <= {one.kind for one in differing}
    assert differing[0].difference is not None
    assert differing[0].difference.path


def test_a_rollback_is_made_again_and_one_without_its_evidence_is_named(tmp_path: Path) -> None:
    arena = Arena.build(tmp_path)
    arena.register(logistic(1.0))
    arena.register(logistic(-1.0))
    arena.record.registry.promote("v2", actor="ada", reason="a test")
    arena.open(START)
    arena.label(arena.ask(400, START))
    for minutes in (5, 30, 120, 300):
        arena.settle(START + HORIZON + timedelta(minutes=minutes))
    assert arena.record.registry.roles().champion == "v1"
    kinds = {one.kind: one.state for one in Auditor(arena.record, arena.settings).verdicts()}
    assert (kinds["bout_decided"], kinds["model_rolled_back"]) == ("same", "same")
    with arena.record.database.write() as connection:
        connection.execute(sa.update(labels).where(labels.c.label_seq < 60).values(label='"no"'))
    kinds = {one.kind: one.state for one in Auditor(arena.record, arena.settings).verdicts()}
    assert kinds["bout_decided"] == "differs"
    arena.record.close()


def test_other_settings_say_which_checks_would_have_alarmed(house: WatchHouse, tmp_path: Path) -> None:
    """A decline that a wide tolerance allows, and drift that a tiny budget of false alarms keeps quiet on a day."""
    assert house.events("quality_declined")
    wide = what_if(house, tmp_path, "[quality]\ntolerance = 5.0\n")
    assert any(one.differs and one.was.startswith("declined") for one in wide["quality_checked"])
    assert {one.would for one in wide["quality_checked"]} == {"no decline"}
    assert not any(one.differs for one in wide["drift_checked"])
    same = what_if(house, tmp_path, "[quality]\nmin_labels = 201\n")
    assert not any(one.differs for one in same["quality_checked"])
    quiet = what_if(house, tmp_path, "[drift]\nmin_rows = 1000000\n")
    assert not any(one.was == "no alarm" and one.differs for one in quiet["drift_checked"])
