"""The audit of the trail: its chain, and all that the record says of itself beside it.

The chain alone does not notice who changes a table and leaves the events alone, nor who writes the whole trail anew.
So versions, roles, standings and bouts are compared with the events that made them, each card's `chain_head` has to be
in the trail, and so has every head that was noted outside the database.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from record.bouts.bout import design_hash
from record.canonical import canonical_json
from record.clock import to_micros
from record.db.database import Database
from record.db.tables import bouts, events, model_versions, roles
from record.errors import InputError
from record.event_log import GENESIS, EventLog
from record.log.archive import LogArchive
from record.ownership import give_descriptor_to_owner, make_folder
from record.versions.artifact import MANIFEST, ArtifactStore

SHORTEST_DIGEST = 12  # hexadecimal digits of a head that somebody noted
TOLD_PROBLEMS = 100
STATES = (
    "model_registered",
    "model_promoted",
    "model_rejected",
    "model_unbarred",
    "model_rolled_back",
    "bout_opened",
    "bout_decided",
    "bout_voided",
)


@dataclass(frozen=True, slots=True)
class TrailReport:
    """What an audit found.

    `broken_at` is the first event at which the chain is not what was written, None where it is whole; `signed_from`
    the first event with a signature that the key confirms; `problems` what does not fit the events, a sentence each.
    """

    valid: bool
    events: int
    broken_at: int | None
    head: str
    signed_from: int | None = None
    problems: tuple[str, ...] = ()


@dataclass
class _Told:
    """What the events say, replayed in their order."""

    registered: dict[str, sa.Row[Any]] = field(default_factory=dict)
    standing: dict[str, str] = field(default_factory=dict)
    champion: str | None = None
    previous: str | None = None
    generation: int = 0
    since: Any = None
    bouts: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    ended: dict[str, tuple[str, str | None]] = field(default_factory=dict)

    def hear(self, event: sa.Row[Any]) -> None:
        version, data = event.model_version, event.data
        match event.kind:
            case "model_registered":
                self.registered[version] = event
                self.standing[version] = "eligible"
            case "model_promoted":
                self._move(version, data["previous"], data["generation"], event.at)
            case "model_rolled_back":
                self._move(data["restored"], None, data["generation"], event.at)
                self.standing[version] = "rolled_back"
            case "model_rejected":
                self.standing[version] = "rejected"
            case "model_unbarred":
                self.standing[version] = "eligible"
            case "bout_opened":
                self.bouts[data["bout"]] = data
            case "bout_decided":
                self.ended[data["bout"]] = ("decided", data["outcome"])
            case "bout_voided":
                self.ended[data["bout"]] = ("voided", None)

    def _move(self, champion: str, previous: str | None, generation: int, at: Any) -> None:
        self.champion, self.previous, self.generation, self.since = champion, previous, generation, at


def audit_trail(
    database: Database,
    log: EventLog,
    artifacts: ArtifactStore,
    *,
    expected: Sequence[str] = (),
    anchor_file: Path | None = None,
    archive: LogArchive | None = None,
    hashes: bool = False,
) -> TrailReport:
    """The whole trail, and what has to agree with it. InputError for an expected digest that is none.

    `expected` are heads that somebody noted, each at least twelve digits; those in `anchor_file` are looked for too.
    The parts of `archive` have to be there; with `hashes`, unchanged, which takes the time of reading them.
    """
    for digest in expected:
        if len(digest) < SHORTEST_DIGEST or set(digest) - set("0123456789abcdef"):
            raise InputError(
                f"expect: {digest[:80]!r} is not a digest; expected {SHORTEST_DIGEST} to 64 hexadecimal digits",
                field="expect",
            )
    chain = log.verify()
    problems: list[str] = []
    with database.read() as connection:
        told = _Told()
        try:
            for event in connection.execute(sa.select(events).where(events.c.kind.in_(STATES)).order_by(events.c.seq)):
                told.hear(event)
        except (KeyError, TypeError, ValueError) as error:
            problems.append(f"an event of a model or a bout does not say what such an event says: {error!r}")
        problems += _versions(connection, told, artifacts)
        problems += _roles(connection, told)
        problems += _bouts(connection, told)
        problems += _heads(connection, [(digest, "was expected") for digest in expected])
    problems += _anchors(database, anchor_file)
    if archive is not None:
        problems += archive.problems(hashes=hashes)
    valid = chain.valid and not problems
    return TrailReport(
        valid, chain.events, chain.broken_at, chain.head, chain.signed_from, tuple(problems[:TOLD_PROBLEMS])
    )


def _versions(connection: sa.Connection, told: _Told, artifacts: ArtifactStore) -> Iterator[str]:
    rows = {row.version: row for row in connection.execute(sa.select(model_versions).order_by(model_versions.c.number))}
    for version in told.registered.keys() - rows.keys():
        yield f"{version} was registered in event {told.registered[version].seq}, and is not among the versions"
    heads = []
    for version, row in rows.items():
        event = told.registered.get(version)
        if event is None:
            yield f"{version} is among the versions, and no event says that it was registered"
            continue
        for name in ("digest", "run_id", "parent", "read_until_seq"):
            if getattr(row, name) != event.data.get(name):
                yield (
                    f"{version}: its {name} is {getattr(row, name)!r}, {event.data.get(name)!r} in event {event.seq}"
                )
        if row.standing != told.standing[version]:
            yield f"{version}: its standing is {row.standing}, {told.standing[version]} by the events"
        problem = _card_problem(row, event.data, artifacts)
        if problem is not None:
            yield f"{version}: {problem}"
        lineage = row.card.get("lineage") if isinstance(row.card, dict) else None
        head = lineage.get("chain_head") if isinstance(lineage, dict) else None
        if head not in (None, GENESIS):
            heads.append((str(head), f"stands in the card of {version}"))
    yield from _heads(connection, heads)


def _card_problem(row: sa.Row[Any], registered: Mapping[str, Any], artifacts: ArtifactStore) -> str | None:
    """What is wrong with a version's card; by the event's digest of it, else by the version's manifest."""
    found = hashlib.sha256(canonical_json(row.card).encode()).hexdigest()
    stated = registered.get("card")
    if stated is None:  # registered by a release whose events did not state it
        try:
            content = (artifacts.directory(row.version) / MANIFEST).read_bytes()
            if hashlib.sha256(content).hexdigest() != row.digest:
                return f"its {MANIFEST} is not what was registered"
            stated = json.loads(content)["files"]["card.json"]
        except (OSError, ValueError, KeyError) as error:
            return f"its card cannot be compared: {MANIFEST}: {error!r}"
    return None if found == stated else "its card in the record is not the one that was registered"


def _roles(connection: sa.Connection, told: _Told) -> Iterator[str]:
    rows = {row.role: row for row in connection.execute(sa.select(roles))}
    expected = {"champion": told.champion, "previous": told.previous} if told.generation else {}
    for role in sorted(rows.keys() | expected.keys()):
        row = rows.get(role)
        found = (row.version, row.generation, to_micros(row.since)) if row is not None else None
        since = to_micros(told.since) if told.since is not None else None
        stated = (expected[role], told.generation, since) if role in expected else None
        if found != stated:
            yield f"the role {role} is {_shown_role(found)}, {_shown_role(stated)} by the events"


def _shown_role(held: tuple[str | None, int, int | None] | None) -> str:
    return "not there" if held is None else f"{held[0] or 'nobody'} in generation {held[1]}"


def _bouts(connection: sa.Connection, told: _Told) -> Iterator[str]:
    columns = [
        c for c in bouts.c if c.name in (
            "bout", "kind", "challenger", "champion", "generation", "design", "design_hash", "after_seq", "state",
            "outcome",
        )
    ]  # fmt: skip
    rows = {row.bout: row for row in connection.execute(sa.select(*columns))}
    for bout in told.bouts.keys() - rows.keys():
        yield f"bout {bout} was opened by the events, and is not among the bouts"
    for bout, row in rows.items():
        opened = told.bouts.get(bout)
        if opened is None:
            yield f"bout {bout} is among the bouts, and no event opened it"
            continue
        for name in ("challenger", "champion", "generation", "design_hash", "after_seq"):
            if getattr(row, name) != opened.get(name):
                yield f"bout {bout}: its {name} is {getattr(row, name)!r}, {opened.get(name)!r} by the events"
        if design_hash(row.design, bout, row.challenger, row.champion) != row.design_hash:
            yield f"bout {bout}: its design is not the one that was hashed when it opened"
        ended = told.ended.get(bout, ("open", None))
        if (row.state, row.outcome) != ended:
            yield f"bout {bout}: it is {row.state} ({row.outcome}), {ended[0]} ({ended[1]}) by the events"


def _heads(connection: sa.Connection, heads: Sequence[tuple[str, str]]) -> Iterator[str]:
    for digest, where in heads:
        there = sa.select(events.c.seq).where(events.c.digest.like(f"{digest}%")).limit(1)
        if connection.execute(there).scalar() is None:
            yield f"the head {digest} {where}, and is not in the trail: events were cut off, or written anew"


def _anchors(database: Database, anchor_file: Path | None) -> Iterator[str]:
    """Heads that were noted in a file outside the database."""
    if anchor_file is None or not anchor_file.exists():
        return
    with database.read() as connection:
        for number, line in enumerate(anchor_file.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                anchor = json.loads(line)
                there = sa.select(events.c.digest).where(events.c.seq == int(anchor["seq"]))
                digest = str(anchor["digest"])
            except (ValueError, KeyError, TypeError):
                continue  # a line that a crash has torn
            if connection.execute(there).scalar() != digest:
                yield (
                    f"line {number} of {anchor_file.name} notes {digest} as event {anchor['seq']}, and the trail has "
                    "another there, or none: events were cut off, or written anew"
                )
                return


def note_head(anchor_file: Path, at: str, seq: int, digest: str) -> None:
    """Appends a head to the file of anchors."""
    make_folder(anchor_file.parent)
    with anchor_file.open("a", encoding="utf-8") as file:
        give_descriptor_to_owner(file.fileno(), anchor_file.parent)
        file.write(canonical_json({"at": at, "seq": seq, "digest": digest}) + "\n")
