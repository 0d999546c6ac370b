"""Labels for what was answered: append-only, so that a correction is one more row."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from record.db.tables import labels, prediction_ids
from record.logged import LabelGiven, LabelOutcome

CHUNK = 500  # values in one statement; SQLite took 999 for long
MOST_CORRECTIONS = 100  # of one prediction's label


@dataclass(frozen=True, slots=True)
class Page:
    """At most so many rows, of those behind a number."""

    limit: int = 100
    after: int = 0


def add_labels(connection: sa.Connection, given: Sequence[LabelGiven], received: dict[str, Any]) -> LabelOutcome:
    """Stores what is new, inside the caller's transaction; `received` has the row's two times.

    The ids' rows are locked, so that of two processes with the same label one stores it and the other finds it.
    """
    meant = _meanings(connection, {label.id for label in given if storable(label.id)})
    current = _current(connection, set(meant.values()))
    rows, outcome = judge(given, meant, current)
    if rows:
        connection.execute(labels.insert(), [row | received for row in rows])
    return outcome


@dataclass(slots=True)
class Standing:
    """The label that a prediction has now, and how many rows it took to come to it."""

    label: str | None = None
    rows: int = 0


def judge(
    given: Sequence[LabelGiven], meant: Mapping[str, int], current: defaultdict[int, Standing]
) -> tuple[list[dict[str, Any]], LabelOutcome]:
    """Which labels are new rows. Decides in the order given; `current` is left as it is afterwards."""
    rows: list[dict[str, Any]] = []
    conflicts: dict[str, None] = {}
    unknown: dict[str, None] = {}
    exhausted: dict[str, None] = {}
    duplicates = 0
    for label in given:
        seq = meant.get(label.id)
        if seq is None:
            unknown[label.id] = None
            continue
        standing = current[seq]
        before = standing.label
        if before == label.label:
            duplicates += 1
        elif before is not None and not label.correct:
            conflicts[label.id] = None
        elif standing.rows > MOST_CORRECTIONS:
            conflicts[label.id] = exhausted[label.id] = None
        else:
            rows.append({"id": label.id, "seq": seq, "label": label.label, "correction": before is not None})
            current[seq] = Standing(label.label, standing.rows + 1)
    return rows, LabelOutcome(len(rows), duplicates, tuple(conflicts), tuple(unknown), tuple(exhausted))


def read_labels(connection: sa.Connection, seq: int, page: Page) -> tuple[list[dict[str, Any]], str | None]:
    """The labels of one request, oldest first, and the cursor of the next page of them.

    `correction` says that a label replaced the one before.
    """
    query = sa.select(labels.c.label_seq, labels.c.label, labels.c.received_at, labels.c.correction)
    query = query.where(labels.c.seq == seq, labels.c.label_seq > page.after).order_by(labels.c.label_seq)
    rows = connection.execute(query.limit(page.limit + 1)).all()
    shown = rows[: page.limit]
    following = str(shown[-1].label_seq) if len(rows) > page.limit else None
    return [_shown(row) for row in shown], following


def last_label(connection: sa.Connection, seq: int) -> dict[str, Any] | None:
    """The label of one request that holds now."""
    query = sa.select(labels.c.label, labels.c.received_at, labels.c.correction).where(labels.c.seq == seq)
    row = connection.execute(query.order_by(labels.c.label_seq.desc()).limit(1)).one_or_none()
    return None if row is None else _shown(row)


def _shown(row: Any) -> dict[str, Any]:
    return {"label": json.loads(row.label), "received_at": row.received_at, "correction": row.correction}


def storable(id: str) -> bool:
    """Whether a database can hold that text at all; what it cannot hold was never answered."""
    return "\0" not in id and not any("\ud800" <= letter <= "\udfff" for letter in id)


def _meanings(connection: sa.Connection, ids: Iterable[str]) -> dict[str, int]:
    """The seq that each id means now, with their rows locked in the order of their bytes, as everywhere."""
    order = prediction_ids.c.id.collate("C") if connection.dialect.name == "postgresql" else prediction_ids.c.id
    query = sa.select(prediction_ids.c.id, prediction_ids.c.seq).order_by(order).with_for_update()
    found: dict[str, int] = {}
    for chunk in _chunks(sorted(ids)):
        found.update((id, seq) for id, seq in connection.execute(query.where(prediction_ids.c.id.in_(chunk))))
    return found


def _current(connection: sa.Connection, seqs: Iterable[int]) -> defaultdict[int, Standing]:
    """The label that each seq has now, where it has one. A later row is a correction."""
    count, last = sa.func.count().label("count"), sa.func.max(labels.c.label_seq).label("last")
    found: defaultdict[int, Standing] = defaultdict(Standing)
    for chunk in _chunks(sorted(seqs)):
        stands = sa.select(count, last).where(labels.c.seq.in_(chunk)).group_by(labels.c.seq).subquery()
        query = sa.select(labels.c.seq, labels.c.label, stands.c.count)
        query = query.join(stands, labels.c.label_seq == stands.c.last)
        found.update((seq, Standing(label, rows)) for seq, label, rows in connection.execute(query))
    return found


def _chunks(values: list[Any]) -> Iterator[list[Any]]:
    return (values[start : start + CHUNK] for start in range(0, len(values), CHUNK))
