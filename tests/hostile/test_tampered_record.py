"""Somebody who can write the database changes it by hand: what an audit notices, and what notices the rest."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from record.db.tables import chain_head, event_signatures, events, model_versions
from record.event_log import GENESIS, event_digest
from record.events import AccessRefused, ModelRejected
from record.record import Record, open_record
from record.settings import Settings, load_settings
from record.trail_audit import TrailReport, audit_trail, note_head
from ringside import commands
from tests.fixtures.unfreezing import thaw_sqlite

Tamper = Callable[[sa.Connection], object]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("thawed")
    thaw_sqlite("af4652c", folder)
    return folder


@pytest.fixture
def settings(project: Path, tmp_path: Path) -> Settings:
    shutil.copytree(project, tmp_path / "copy")
    return load_settings(tmp_path / "copy" / "ringside.toml")


@pytest.fixture
def record(settings: Settings) -> Iterator[Record]:
    """What an earlier release left, and what today's adds: a rejected version, in today's format of digests."""
    record = open_record(settings)
    record.registry.reject("v3", actor="ann", reason="to have an event of today")
    yield record
    record.close()


def audit(record: Record, *expected: str, anchor_file: Path | None = None) -> TrailReport:
    return audit_trail(record.database, record.events, record.artifacts, expected=expected, anchor_file=anchor_file)


def statement(text: str, **values: object) -> Tamper:
    return lambda connection: connection.execute(sa.text(text), values)


def rewrite(connection: sa.Connection, up_to: int | None = None) -> None:
    """Every digest worked out anew, as somebody does who knows how: the chain is whole again, up to that event."""
    previous, seq = GENESIS, 0
    for row in connection.execute(sa.select(events).order_by(events.c.seq)).all():
        if up_to is not None and row.seq > up_to:
            break
        facts = (row.seq, row.at, row.kind, row.actor, row.model_version, row.data, previous)
        today = event_digest(*facts[:-1], row.previous, row.recorded_at) == row.digest
        digest = event_digest(*facts, row.recorded_at if today else None)
        written = sa.update(events).where(events.c.seq == row.seq)
        connection.execute(written.values(previous=previous, digest=digest))
        previous, seq = digest, row.seq
    connection.execute(sa.update(chain_head).values(seq=seq, digest=previous))


def cut(connection: sa.Connection, count: int) -> None:
    """The last events and their place in the head's row."""
    last = connection.execute(sa.select(sa.func.max(events.c.seq))).scalar_one() - count
    connection.execute(sa.delete(events).where(events.c.seq > last))
    digest = connection.execute(sa.select(events.c.digest).where(events.c.seq == last)).scalar_one()
    connection.execute(sa.update(chain_head).values(seq=last, digest=digest))


def edit_and_rewrite(connection: sa.Connection) -> None:
    """The first event says another reason, and the chain is made to fit."""
    row = connection.execute(sa.select(events).where(events.c.seq == 1)).one()
    connection.execute(sa.update(events).where(events.c.seq == 1).values(data={**row.data, "reason": "another"}))
    rewrite(connection)


def delete_everything(connection: sa.Connection) -> None:
    connection.execute(sa.delete(events))
    connection.execute(sa.update(chain_head).values(seq=0, digest=GENESIS))


def change_card(connection: sa.Connection) -> None:
    row = connection.execute(sa.select(model_versions).where(model_versions.c.version == "v2")).one()
    changed = sa.update(model_versions).where(model_versions.c.version == "v2")
    connection.execute(changed.values(card={**row.card, "metrics": {"auc": {"value": 0.999}}}))


NOTICED: dict[str, tuple[Tamper, str]] = {
    "all events deleted": (delete_everything, "no event says that it was registered"),
    "the tail and its head cut, a rejection with them": (lambda c: cut(c, 1), "its standing is rejected"),
    "an event edited, the chain made to fit": (edit_and_rewrite, "stands in the card of v1, and is not in the trail"),
    "the champion's role emptied": (statement("DELETE FROM roles"), "the role champion is not there"),
    "the champion's role moved": (statement("UPDATE roles SET version = 'v3' WHERE role = 'champion'"), "v3 in gen"),
    "the role's generation moved": (statement("UPDATE roles SET generation = 9"), "in generation 9"),
    "the role's time moved": (statement("UPDATE roles SET since = 1 WHERE role = 'champion'"), "role champion"),
    "a version barred": (statement("UPDATE model_versions SET standing = 'rejected' WHERE version = 'v1'"), "v1: its "),
    "a bar lifted": (statement("UPDATE model_versions SET standing = 'eligible' WHERE version = 'v3'"), "v3: its st"),
    "a card edited": (change_card, "v2: its card in the record is not the one"),
    "a digest replaced": (statement("UPDATE model_versions SET digest = 'x' WHERE version = 'v2'"), "v2: its digest"),
    "a lineage edited": (statement("UPDATE model_versions SET parent = 'v7' WHERE version = 'v2'"), "v2: its parent"),
    "data claimed as unseen": (statement("UPDATE model_versions SET read_until_seq = 0"), "its read_until_seq is 0"),
    "a version deleted": (statement("DELETE FROM model_versions WHERE version = 'v3'"), "v3 was registered in event"),
    "a version added": (
        statement("INSERT INTO model_versions SELECT 'v9', 9, registered_at, run_id, parent, digest, card, "
                  "read_until_seq, data_until, standing, standing_reason FROM model_versions WHERE version = 'v1'"),
        "v9 is among the versions",
    ),
    "a bout decided": (statement("UPDATE bouts SET state = 'decided', outcome = 'promote'"), "decided (promote)"),
    "a bout's design edited": (statement("UPDATE bouts SET design = '{}'"), "its design is not the"),
    "a bout's start moved": (statement("UPDATE bouts SET after_seq = 0"), "its after_seq is 0"),
    "a bout deleted": (statement("DELETE FROM bouts WHERE bout = 'b3'"), "bout b3 was opened by the events"),
    "a bout added": (statement("UPDATE bouts SET bout = 'b8' WHERE bout = 'b3'"), "bout b8 is among the bouts"),
}  # fmt: skip


def test_a_record_of_two_releases_is_whole(record: Record) -> None:
    """What the earlier one sealed in its own format verifies beside what today's seals."""
    assert audit(record) == TrailReport(True, 40, None, record.events.head())


@pytest.mark.parametrize("case", NOTICED)
def test_what_does_not_fit_the_events_is_named(record: Record, case: str) -> None:
    tamper, sentence = NOTICED[case]
    with record.database.write() as connection:
        tamper(connection)
    report = audit(record)
    assert not report.valid
    assert any(sentence in problem for problem in report.problems), report.problems


def test_when_an_event_was_written_is_sealed_too(record: Record) -> None:
    last = record.events.verify().events
    with record.database.write() as connection:
        connection.execute(sa.text("UPDATE events SET recorded_at = recorded_at + 1 WHERE seq = :seq"), {"seq": last})
    assert audit(record).broken_at == last


def test_an_event_cannot_fall_back_to_the_earlier_format(record: Record) -> None:
    """Else whoever changes the time that today's format seals would seal the event in the earlier one."""
    record.events.append(ModelRejected(reason="again", model_version="v3"), actor="ann")
    last = record.events.verify().events
    with record.database.write() as connection:
        row = connection.execute(sa.select(events).where(events.c.seq == last)).one()
        digest = event_digest(last, row.at, row.kind, row.actor, row.model_version, row.data, row.previous)
        connection.execute(sa.update(events).where(events.c.seq == last).values(digest=digest, recorded_at=row.at))
        connection.execute(sa.update(chain_head).values(digest=digest))
    assert audit(record).broken_at == last


def test_what_leaves_no_trace_in_the_database_shows_against_a_head_noted_outside(
    record: Record, tmp_path: Path
) -> None:
    """An event that no table says anything of is cut off, with the head: only who noted a head can tell."""
    record.events.append(AccessRefused(reason="unauthorized", route="/predict"), actor="service")
    chain = record.events.verify()
    anchors = tmp_path / "elsewhere" / "heads.jsonl"
    note_head(anchors, "2026-01-01T00:00:00Z", chain.events, chain.head)
    assert audit(record, chain.head, chain.head[:12], anchor_file=anchors).valid
    with record.database.write() as connection:
        cut(connection, 1)
    assert audit(record).valid
    assert "was expected, and is not in the trail" in audit(record, chain.head).problems[0]
    assert "heads.jsonl notes" in audit(record, anchor_file=anchors).problems[0]


def test_a_signed_trail_cannot_be_written_anew_without_the_key(settings: Settings, tmp_path: Path) -> None:
    """Digests that fit are not enough, nor is it to take the signatures away."""
    key = tmp_path / "signing.key"
    key.write_text("k" * 40)
    signing = settings.model_copy(update={"audit": settings.audit.model_copy(update={"signing_key_file": key})})
    record = open_record(signing)
    record.registry.reject("v3", actor="ann", reason="before")
    record.registry.unbar("v3", actor="ann", reason="after")
    report = audit(record)
    assert (report.valid, report.signed_from) == (True, 39)

    def edit(connection: sa.Connection) -> None:
        row = connection.execute(sa.select(events).where(events.c.seq == 41)).one()
        connection.execute(sa.update(events).where(events.c.seq == 41).values(data={**row.data, "reason": "other"}))
        rewrite(connection)

    with record.database.write() as connection:
        edit(connection)
    assert audit(record).broken_at == 41
    with record.database.write() as connection:
        connection.execute(sa.delete(event_signatures).where(event_signatures.c.seq >= 41))
    assert audit(record).broken_at == 41
    with record.database.write() as connection:
        connection.execute(sa.delete(event_signatures))
    assert not audit(record).valid
    record.close()
    key.write_text("another key" * 5)
    other = open_record(signing)
    assert not audit(other).valid
    other.close()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Calls `ringside ARGUMENTS`: exit code, output, errors."""

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["ringside", *arguments])
        with pytest.raises(SystemExit) as ended:
            commands.main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


@pytest.mark.parametrize("content", ["", "short"])
def test_a_signing_key_that_is_none_is_refused(settings: Settings, tmp_path: Path, content: str, run: Run) -> None:
    key = tmp_path / "signing.key"
    if content:
        key.write_text(content)
    config = settings.folder / "ringside.toml"
    config.write_text(config.read_text() + f'[audit]\nsigning_key_file = "{key}"\n')
    code, _, err = run("events", "--verify", "--config", str(config))
    assert code == 2
    assert "audit.signing_key_file" in err


def test_the_command_says_what_does_not_fit(record: Record, settings: Settings, run: Run) -> None:
    config = str(settings.folder / "ringside.toml")
    code, out, _ = run("events", "--verify", "--expect", record.events.head(), "--json", "--config", config)
    assert (code, json.loads(out)["valid"]) == (0, True)
    assert run("events", "--verify", "--expect", "0" * 64, "--config", config)[0] == 1
    code, _, err = run("events", "--verify", "--expect", "no digest", "--config", config)
    assert code == 2
    assert "'no digest' is not a digest" in err
    with record.database.write() as connection:
        change_card(connection)
    code, out, _ = run("events", "--verify", "--json", "--config", config)
    told = json.loads(out)
    assert (code, told["valid"], told["broken_at"]) == (1, False, None)
    assert "v2: its card" in told["problems"][0]
