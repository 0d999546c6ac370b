"""Every table of the record, and the two column types that they share."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from record.canonical import canonical_json
from record.clock import from_micros, to_micros


class Instant(sa.types.TypeDecorator[datetime]):
    """An aware UTC datetime, stored as microseconds since 1970: exact, ordered, the same on every database."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> int | None:
        return None if value is None else to_micros(value)

    def process_result_value(self, value: int | None, dialect: Any) -> datetime | None:
        return None if value is None else from_micros(value)


class Json(sa.types.TypeDecorator[Any]):
    """Any JSON value as its canonical text."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> str | None:
        return None if value is None else canonical_json(value)

    def process_result_value(self, value: str | None, dialect: Any) -> Any:
        return None if value is None else json.loads(value)


# SQLite gives row numbers to INTEGER PRIMARY KEY columns only.
Sequence = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

# Where PostgreSQL keeps the record's tables and Alembic's word on their revision: another program that shares the
# database may have tables of the same names. Statements name it; the session's search_path may be anybody's.
SCHEMA = "ringside"

metadata = sa.MetaData()

model_versions = sa.Table(
    "model_versions",
    metadata,
    sa.Column("version", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, nullable=False, unique=True),
    sa.Column("registered_at", Instant, nullable=False),
    sa.Column("run_id", sa.Text),
    sa.Column("parent", sa.Text),  # the champion when its run began
    sa.Column("digest", sa.Text, nullable=False),  # of the artifact's manifest
    sa.Column("card", Json, nullable=False),
    sa.Column("read_until_seq", sa.BigInteger, nullable=False),  # the last logged request that its run read; 0: none
    sa.Column("data_until", Instant),  # the newest row that its run read, by the rows' own time
    sa.Column("standing", sa.Text, nullable=False),  # eligible | rejected | rolled_back
    sa.Column("standing_reason", sa.Text),
)

roles = sa.Table(
    "roles",
    metadata,
    sa.Column("role", sa.Text, primary_key=True),  # champion | previous
    sa.Column("version", sa.Text),
    sa.Column("since", Instant, nullable=False),
    sa.Column("generation", sa.Integer, nullable=False),  # moves by one with every move of the champion's role
)

predictions = sa.Table(
    "predictions",
    metadata,
    sa.Column("seq", Sequence, primary_key=True, autoincrement=True),
    sa.Column("xid", sa.BigInteger, nullable=False),  # PostgreSQL's transaction plus the base, for tailing; 0 on SQLite
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("requested_at", Instant, nullable=False),
    sa.Column("answered_at", Instant, nullable=False),  # the machine's clock
    sa.Column("model_version", sa.Text, nullable=False),
    sa.Column("record", sa.Text, nullable=False),  # JSON, redacted
    sa.Column("prediction", sa.Text, nullable=False),  # JSON scalar: class or value
    sa.Column("probabilities", sa.Text),  # JSON object class → probability
    sa.Column("marks", sa.Text),  # JSON object column → "unseen" | "out_of_range"
    sa.Column("latency_micros", sa.Integer, nullable=False),
    sa.Index("predictions_requested_at", "requested_at"),
    sa.Index("predictions_xid_seq", "xid", "seq").ddl_if(dialect="postgresql"),
    sqlite_autoincrement=True,
)

# One row where a record on PostgreSQL has come from another cluster: `record.log.transactions`.
transaction_base = sa.Table(
    "transaction_base",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("base", sa.BigInteger, nullable=False),
)

prediction_ids = sa.Table(
    "prediction_ids",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("digest", sa.LargeBinary, nullable=False),  # of the decoded record, before redaction, keyed
    sa.Column("requested_at", Instant, nullable=False),
    sqlite_with_rowid=False,
)

record_key = sa.Table(
    "record_key",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("check_value", sa.Text, nullable=False),  # of the key, which is kept outside the database
    sa.Column("unkeyed_digests", sa.Boolean, nullable=False),  # whether `prediction_ids` may have an earlier release's
)

# What a LoggedRow is made of, in its order.
LOGGED = (
    predictions.c.seq,
    predictions.c.xid,
    predictions.c.id,
    predictions.c.requested_at,
    predictions.c.model_version,
    predictions.c.record,
    predictions.c.prediction,
    predictions.c.probabilities,
    predictions.c.marks,
)

labels = sa.Table(
    "labels",
    metadata,
    sa.Column("label_seq", Sequence, primary_key=True, autoincrement=True),
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("seq", sa.BigInteger, nullable=False),  # what the id meant at receipt
    sa.Column("label", sa.Text, nullable=False),  # JSON scalar
    sa.Column("received_at", Instant, nullable=False),
    sa.Column("machine_at", Instant, nullable=False),
    sa.Column("correction", sa.Boolean, nullable=False),
    sa.Index("labels_seq", "seq", "label_seq"),
    sa.Index("labels_received_at", "received_at"),
    sa.Index("labels_corrections", "seq", sqlite_where=sa.text("correction"), postgresql_where=sa.text("correction")),
    sqlite_autoincrement=True,
)

clock = sa.Table(
    "clock",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", Instant, nullable=False),  # used where clock.source = "requests"; moves forward only
)

bouts = sa.Table(
    "bouts",
    metadata,
    sa.Column("bout", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, nullable=False, unique=True),
    sa.Column("kind", sa.Text, nullable=False),  # challenge | probation
    sa.Column("challenger", sa.Text, nullable=False),
    sa.Column("champion", sa.Text, nullable=False),
    sa.Column("generation", sa.Integer, nullable=False),  # of the champion's role at opening
    sa.Column("design", Json, nullable=False),
    sa.Column("design_hash", sa.Text, nullable=False),
    sa.Column("opened_at", Instant, nullable=False),
    sa.Column("after_seq", sa.BigInteger, nullable=False),  # evidence begins behind this request
    sa.Column("state", sa.Text, nullable=False),  # open | decided | voided
    sa.Column("outcome", sa.Text),
    sa.Column("decided_at", Instant),
    sa.Column("cursor_xid", sa.BigInteger, nullable=False),  # how far the shadow has scored
    sa.Column("cursor_seq", sa.BigInteger, nullable=False),
    sa.Column("matured_until", Instant),  # how far pairs have been entered, by request time
    sa.Column("look", Json),  # the latest look at the evidence
    sa.Column("heartbeat_at", Instant),  # the shadow's, on the machine's clock
    sa.Column("evidence", Json),  # the sums that the next look goes on from
)

shadow_scores = sa.Table(
    "shadow_scores",
    metadata,
    sa.Column("bout", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("outcome", sa.Text, nullable=False),  # scored | failed | sampled_out
    sa.Column("prediction", sa.Text),  # JSON scalar
    sa.Column("probabilities", sa.Text),  # JSON object class → probability
    sa.Column("latency_micros", sa.Integer),  # CPU time of a row scored alone; NULL where rows were scored together
    sqlite_with_rowid=False,
)

pairs = sa.Table(
    "pairs",
    metadata,
    sa.Column("bout", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("entry", sa.Integer, nullable=False),  # 1, 2, … in the order of entering
    sa.Column("difference", sa.Double, nullable=False),  # loss(champion) − loss(challenger), in [−1, 1]
    sa.Column("requested_at", Instant),  # NULL: entered before this was kept
    sa.Column("bound", sa.Double),  # the largest difference that the two answers allowed
    sa.Column("counts", sa.Boolean),  # false: not the first request of its entity in this bout
    sqlite_with_rowid=False,
)

bout_entities = sa.Table(
    "bout_entities",
    metadata,
    sa.Column("bout", sa.Text, primary_key=True),
    sa.Column("entity", sa.BigInteger, primary_key=True, autoincrement=False),  # 63 bits of a digest
    sqlite_with_rowid=False,
)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("schedule", sa.Text, nullable=False),
    sa.Column("due_at", Instant, nullable=False),
    sa.Column("last_as_of", Instant),
    sa.Column("last_finished_at", Instant),  # the machine's clock
    sa.Column("last_error", sa.Text),
)

requests = sa.Table(
    "requests",
    metadata,
    sa.Column("request", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),  # retrain | alert
    sa.Column("key", sa.Text, unique=True),  # what arrives twice is taken once
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("data", Json, nullable=False),
    sa.Column("run_id", sa.Text),
    sa.Column("requested_at", Instant, nullable=False),
    sa.Column("state", sa.Text, nullable=False),  # pending | decided
    sa.Column("decided_at", Instant),
    sa.Index("requests_state", "state"),
)

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),  # requested | running | succeeded | failed | declined
    sa.Column("active", sa.Integer, unique=True),  # 1 while requested or running, else NULL: one active at a time
    sa.Column("trigger", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("requested_at", Instant, nullable=False),
    sa.Column("as_of", Instant),  # the run reads the record as it stood then
    sa.Column("started_at", Instant),  # the record's clock
    sa.Column("finished_at", Instant),
    sa.Column("machine_started_at", Instant),
    sa.Column("machine_finished_at", Instant),
    sa.Column("heartbeat_at", Instant),  # the machine's clock
    sa.Column("host", sa.Text),
    sa.Column("pid", sa.Integer),
    sa.Column("progress", Json),
    sa.Column("version", sa.Text),
    sa.Column("outcome", Json),  # the gate's decision, or the error
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", Instant, nullable=False),  # the record's clock
    sa.Column("recorded_at", Instant, nullable=False),  # the machine's
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("model_version", sa.Text),
    sa.Column("data", Json, nullable=False),
    sa.Column("previous", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Index("events_kind", "kind", "seq"),
)

event_signatures = sa.Table(
    "event_signatures",
    metadata,
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("signature", sa.Text, nullable=False),  # HMAC-SHA256 of the event's digest
)

chain_head = sa.Table(
    "chain_head",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
)

archive_parts = sa.Table(
    "archive_parts",
    metadata,
    sa.Column("part", sa.Text, primary_key=True),  # the file's name in the archive's folder
    sa.Column("sha256", sa.Text, nullable=False),
)

samples = sa.Table(
    "samples",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("labels", sa.Text, primary_key=True),  # canonical JSON
    sa.Column("value", sa.Double, nullable=False),
    sa.Column("at", Instant, nullable=False),
)

reports = sa.Table(
    "reports",
    metadata,
    sa.Column("report", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),  # drift | data | quality | model
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("model_version", sa.Text),
    sa.Column("path", sa.Text, nullable=False),  # relative to the artifacts' folder
)

leases = sa.Table(
    "leases",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("token", sa.Integer, nullable=False),  # grows with every new holder; carried by child processes
    sa.Column("expires_at", Instant, nullable=False),  # the machine's clock
    sa.Column("settled_until", Instant),  # the watcher's: all due jobs and their consequences are finished up to here
)
