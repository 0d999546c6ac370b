"""The audit trail: append-only, every event sealed by a digest that includes its predecessor's.

A changed, inserted or removed event breaks the chain from there on; a cut tail shows against the head's row, whose
digest also stands in `/status` and in every model card.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from record.canonical import canonical_json, clean_text
from record.clock import Clock, from_micros, machine_now, to_micros
from record.contract.preview import nearest
from record.db.database import Database
from record.db.tables import chain_head, event_signatures, events
from record.db.upsert import insert
from record.errors import Faults, InvalidRecord
from record.events import KINDS, Event, SigningStarted
from record.redaction import redact_values

GENESIS = "0" * 64  # what the first event has for a predecessor
LONGEST_PAGE = 1000
LONGEST_QUERY = 1000  # characters to look for; SQLite takes patterns of 50,000 bytes
VERIFY_CHUNK = 2000  # rows held in memory at a time


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    seq: int
    at: datetime
    recorded_at: datetime
    kind: str
    actor: str
    model_version: str | None
    data: dict[str, Any]
    previous: str
    digest: str


@dataclass(frozen=True, slots=True)
class ChainReport:
    """`broken_at` is the first sequence number where the trail is not what was written; None when it is whole.

    `signed_from` is the first event with a signature that the signing key confirms; None without a key.
    """

    valid: bool
    events: int
    broken_at: int | None
    head: str
    signed_from: int | None = None


def event_digest(
    seq: int,
    at: datetime,
    kind: str,
    actor: str,
    model_version: str | None,
    data: dict[str, Any],
    previous: str,
    recorded_at: datetime | None = None,
) -> str:
    """The digest that seals an event; without `recorded_at`, as releases before the second format made it."""
    facts: dict[str, Any] = {
        "seq": seq,
        "at": to_micros(at),
        "kind": kind,
        "actor": actor,
        "model_version": model_version,
        "data": data,
        "previous": previous,
    }
    if recorded_at is not None:
        facts |= {"format": 2, "recorded_at": to_micros(recorded_at)}
    return hashlib.sha256(canonical_json(facts).encode()).hexdigest()


class EventLog:
    """The way to the trail. Safe to share between threads."""

    def __init__(self, database: Database, clock: Clock, signing_key: bytes | None = None) -> None:
        self._database = database
        self._clock = clock
        self._signing_key = signing_key
        self._before: int | None = None

    def before(self, seq: int) -> EventLog:
        """The trail as it stood before that event: its readers see none that came later."""
        earlier = EventLog(self._database, self._clock)
        earlier._before = seq
        return earlier

    @contextmanager
    def writing(self, joining: sa.Connection | None = None) -> Iterator[sa.Connection]:
        """A transaction that will append: it holds the chain's head from its start.

        Whatever writes an event takes the head first and its own rows after that, so that no two such
        transactions wait for each other crosswise. Ask the clock before entering: its reading may need a
        connection of its own.
        """
        with self._database.write(joining) as connection:
            _lock_head(connection)
            yield connection

    def append(
        self, event: Event, *, actor: str, at: datetime | None = None, connection: sa.Connection | None = None
    ) -> RecordedEvent:
        """The event as recorded; with `connection`, it stands or falls with that transaction."""
        when = at or self._clock.now()
        data, actor = redact_values(event.data()), clean_text(actor)
        with self._database.write(connection) as joined:
            seq, previous = _lock_head(joined)
            now = machine_now()
            digest = event_digest(seq + 1, when, event.kind, actor, event.model_version, data, previous, now)
            recorded = RecordedEvent(seq + 1, when, now, event.kind, actor, event.model_version, data, previous, digest)
            joined.execute(sa.insert(events).values(asdict(recorded)))
            if self._signing_key is not None:
                signature = _signature(self._signing_key, digest)
                joined.execute(sa.insert(event_signatures).values(seq=seq + 1, signature=signature))
            joined.execute(sa.update(chain_head).where(chain_head.c.id == 1).values(seq=seq + 1, digest=digest))
        return recorded

    def page(
        self,
        *,
        kind: str | Sequence[str] | None = None,
        model: str | None = None,
        actor: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        q: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> tuple[list[RecordedEvent], str | None]:
        """Events in the order they were written, and the cursor of the next page, None at the end.

        `since` is included, `until` is not, both by the record's clock; `q` is found anywhere in the data, kind,
        actor or version, in any case of letters. A limit above 1000 is taken as 1000. InvalidRecord for a kind that
        no event has: it would look as if nothing had happened.
        """
        kinds = [kind] if isinstance(kind, str) else None if kind is None else list(kind)
        expect_filters(kinds or (), q, cursor)
        limit = max(1, min(limit, LONGEST_PAGE))
        query = self._readable().where(events.c.seq > cursor_number(cursor)).order_by(events.c.seq).limit(limit + 1)
        if kinds is not None:
            query = query.where(events.c.kind.in_(kinds))
        if model is not None:
            query = query.where(events.c.model_version == clean_text(model))
        if actor is not None:
            query = query.where(events.c.actor == clean_text(actor))
        if since is not None:
            query = query.where(events.c.at >= since)
        if until is not None:
            query = query.where(events.c.at < until)
        if q:
            query = query.where(_mentions(q))
        with self._database.read() as connection:
            found = [_recorded(row) for row in connection.execute(query)]
        if len(found) <= limit:
            return found, None
        return found[:limit], str(found[limit - 1].seq)

    def latest(self, kind: str | Sequence[str], model: str | None = None) -> RecordedEvent | None:
        """The newest event of a kind, or of several."""
        kinds = [kind] if isinstance(kind, str) else list(kind)
        query = self._readable().where(events.c.kind.in_(kinds)).order_by(events.c.seq.desc()).limit(1)
        if model is not None:
            query = query.where(events.c.model_version == clean_text(model))
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else _recorded(row)

    def get(self, seq: int) -> RecordedEvent | None:
        """The event of that number."""
        with self._database.read() as connection:
            row = connection.execute(self._readable().where(events.c.seq == seq)).one_or_none()
        return None if row is None else _recorded(row)

    def _readable(self) -> sa.Select[Any]:
        chosen = sa.select(events)
        return chosen if self._before is None else chosen.where(events.c.seq < self._before)

    def head(self) -> str:
        """The digest of the newest event; sixty-four zeros before the first."""
        with self._database.read() as connection:
            return _head(connection)[1]

    def verify(self) -> ChainReport:
        """Recomputes every digest, and compares the last with the head. Reads the whole trail, in one snapshot.

        With a signing key, every event from the first signed one on has to carry its signature, the newest too.
        """
        signed_from: int | None = None
        format = 1  # grows along the trail, and never falls back
        with self._database.read() as connection:
            head_seq, head = _head(connection)
            seq, previous = 0, GENESIS
            for row in _raw_events(connection):
                format = _format(row, seq, previous, format)
                if not format or (row.seq == head_seq and row.digest != head):
                    return ChainReport(False, seq, seq + 1, head, signed_from)
                if self._signing_key is not None:
                    confirmed = self._confirms(row)
                    if not confirmed and (signed_from is not None or row.signature is not None):
                        return ChainReport(False, seq, seq + 1, head, signed_from)
                    signed_from = signed_from or (row.seq if confirmed else None)
                seq, previous = row.seq, row.digest
        if seq != head_seq:
            return ChainReport(False, seq, min(seq, head_seq) + 1, head, signed_from)
        if self._signing_key is not None and seq and signed_from is None:
            return ChainReport(False, seq, seq, head, None)
        return ChainReport(True, seq, None, head, signed_from)

    def begin_signing(self) -> None:
        """Appends an event that is signed, where a signing key is set and the newest event has no signature."""
        if self._signing_key is None:
            return
        with self._database.read() as connection:
            seq = _head(connection)[0]
            held = sa.select(event_signatures.c.seq).where(event_signatures.c.seq == seq)
            signed = connection.execute(held).scalar() is not None
        if not signed:
            key = _signature(self._signing_key, "the key's name")[:16]
            self.append(SigningStarted(key=key), actor="service")

    def _confirms(self, row: sa.Row[Any]) -> bool:
        assert self._signing_key is not None
        return hmac.compare_digest(str(row.signature or ""), _signature(self._signing_key, row.digest))


def _lock_head(connection: sa.Connection) -> tuple[int, str]:
    """The head's (seq, digest), held until the transaction ends; the row is made by whoever comes first."""
    query = sa.select(chain_head.c.seq, chain_head.c.digest).where(chain_head.c.id == 1).with_for_update()
    row = connection.execute(query).one_or_none()
    if row is None:
        first = insert(connection, chain_head).values(id=1, seq=0, digest=GENESIS)
        connection.execute(first.on_conflict_do_nothing(index_elements=["id"]))
        row = connection.execute(query).one()
    return row.seq, row.digest


def _head(connection: sa.Connection) -> tuple[int, str]:
    row = connection.execute(sa.select(chain_head.c.seq, chain_head.c.digest)).one_or_none()
    return (0, GENESIS) if row is None else (row.seq, row.digest)


def _raw_events(connection: sa.Connection) -> Iterator[sa.Row[Any]]:
    """Every event as it is stored: `{"a":1,"a":2}` must not pass for `{"a":2}`, nor may a time that is none end it."""
    stored = {"data": sa.Text, "at": sa.BigInteger, "recorded_at": sa.BigInteger}
    columns = [sa.type_coerce(c, stored[c.name]).label(c.name) if c.name in stored else c for c in events.c]
    signed = events.outerjoin(event_signatures, event_signatures.c.seq == events.c.seq)
    seq: int | None = None
    while True:
        query = sa.select(*columns, event_signatures.c.signature).select_from(signed)
        query = query.order_by(events.c.seq).limit(VERIFY_CHUNK)
        rows: list[Any] = list(connection.execute(query if seq is None else query.where(events.c.seq > seq)))
        yield from rows
        if len(rows) < VERIFY_CHUNK:
            return
        seq = rows[-1].seq


def _format(row: sa.Row[Any], seq: int, previous: str, least: int) -> int:
    """The format of the event's digest, where it follows the one before and is of that format at least; else 0."""
    try:
        data = json.loads(row.data)
        if row.seq != seq + 1 or row.previous != previous or canonical_json(data) != row.data:
            return 0
        facts = (row.seq, from_micros(row.at), row.kind, row.actor, row.model_version, data, previous)
        if event_digest(*facts, from_micros(row.recorded_at)) == row.digest:
            return 2
        return 1 if least == 1 and event_digest(*facts) == row.digest else 0
    except (ValueError, TypeError, OverflowError):  # overwritten with what was never written here
        return 0


def _signature(key: bytes, digest: str) -> str:
    return hmac.new(key, digest.encode(), hashlib.sha256).hexdigest()


def _mentions(text: str) -> sa.ColumnElement[bool]:
    wanted = clean_text(text)
    for special in ("\\", "%", "_"):
        wanted = wanted.replace(special, "\\" + special)
    # The database folds the case on both sides: SQLite's lower() knows ASCII only, PostgreSQL's its locale.
    pattern = sa.func.lower(sa.literal(f"%{wanted}%", sa.Text))
    places = (sa.type_coerce(events.c.data, sa.Text), events.c.kind, events.c.actor, events.c.model_version)
    return sa.or_(*(sa.func.lower(place).like(pattern, escape="\\") for place in places))


def expect_filters(kinds: Iterable[str], q: str | None, cursor: str | None) -> None:
    """Raise InvalidRecord, with all of them as its details, for filters by which no page can be read."""
    faults = Faults[InvalidRecord]()
    with faults.collect(InvalidRecord):
        _expect_known(kinds)
    with faults.collect(InvalidRecord):
        if q is not None and len(q) > LONGEST_QUERY:
            raise InvalidRecord(f"q: {len(q):,} characters; expected at most {LONGEST_QUERY:,} to look for", field="q")
    with faults.collect(InvalidRecord):
        cursor_number(cursor)
    faults.expect_none()


def _expect_known(kinds: Iterable[str]) -> None:
    for kind in kinds:
        if kind not in KINDS:
            near = nearest(kind, KINDS)
            hint = f"did you mean {near}?" if near else f"expected {', '.join(KINDS)}"
            raise InvalidRecord(f"kind: {kind[:60]!r} is no kind of event; {hint}", field="kind")


def cursor_number(cursor: str | None) -> int:
    """The number behind which a page begins; 0 without a cursor."""
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 18):
        raise InvalidRecord(f"cursor: {cursor[:40]!r} is none; expected `next` of an earlier page", field="cursor")
    return int(cursor)


def _recorded(row: sa.Row[Any]) -> RecordedEvent:
    return RecordedEvent(**row._mapping)
