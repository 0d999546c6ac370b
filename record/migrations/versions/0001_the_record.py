"""The record's tables, as the first release makes them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# SQLite gives row numbers to INTEGER PRIMARY KEY columns only.
SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "model_versions",
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("registered_at", sa.BigInteger, nullable=False),
        sa.Column("run_id", sa.Text),
        sa.Column("parent", sa.Text),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("card", sa.Text, nullable=False),
        sa.Column("read_until_seq", sa.BigInteger, nullable=False),
        sa.Column("data_until", sa.BigInteger),
        sa.Column("standing", sa.Text, nullable=False),
        sa.Column("standing_reason", sa.Text),
        sa.PrimaryKeyConstraint("version"),
        sa.UniqueConstraint("number"),
    )
    op.create_table(
        "roles",
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("version", sa.Text),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("role"),
    )
    op.create_table(
        "predictions",
        sa.Column("seq", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("xid", sa.BigInteger, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("requested_at", sa.BigInteger, nullable=False),
        sa.Column("answered_at", sa.BigInteger, nullable=False),
        sa.Column("model_version", sa.Text, nullable=False),
        sa.Column("record", sa.Text, nullable=False),
        sa.Column("prediction", sa.Text, nullable=False),
        sa.Column("probabilities", sa.Text),
        sa.Column("marks", sa.Text),
        sa.Column("latency_micros", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sqlite_autoincrement=True,
    )
    op.create_index("predictions_requested_at", "predictions", ["requested_at"])
    if op.get_context().dialect.name == "postgresql":
        op.create_index("predictions_xid_seq", "predictions", ["xid", "seq"])
    op.create_table(
        "prediction_ids",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("requested_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "labels",
        sa.Column("label_seq", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("received_at", sa.BigInteger, nullable=False),
        sa.Column("machine_at", sa.BigInteger, nullable=False),
        sa.Column("correction", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("label_seq"),
        sqlite_autoincrement=True,
    )
    op.create_index("labels_received_at", "labels", ["received_at"])
    op.create_index("labels_seq", "labels", ["seq", "label_seq"])
    op.create_table(
        "clock",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "bouts",
        sa.Column("bout", sa.Text, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("challenger", sa.Text, nullable=False),
        sa.Column("champion", sa.Text, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("design", sa.Text, nullable=False),
        sa.Column("design_hash", sa.Text, nullable=False),
        sa.Column("opened_at", sa.BigInteger, nullable=False),
        sa.Column("after_seq", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text),
        sa.Column("decided_at", sa.BigInteger),
        sa.Column("cursor_xid", sa.BigInteger, nullable=False),
        sa.Column("cursor_seq", sa.BigInteger, nullable=False),
        sa.Column("matured_until", sa.BigInteger),
        sa.Column("look", sa.Text),
        sa.Column("heartbeat_at", sa.BigInteger),
        sa.PrimaryKeyConstraint("bout"),
        sa.UniqueConstraint("number"),
    )
    op.create_table(
        "shadow_scores",
        sa.Column("bout", sa.Text, nullable=False),
        sa.Column("seq", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("prediction", sa.Text),
        sa.Column("probabilities", sa.Text),
        sa.Column("latency_micros", sa.Integer),
        sa.PrimaryKeyConstraint("bout", "seq"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "pairs",
        sa.Column("bout", sa.Text, nullable=False),
        sa.Column("seq", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("entry", sa.Integer, nullable=False),
        sa.Column("difference", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("bout", "seq"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "jobs",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("schedule", sa.Text, nullable=False),
        sa.Column("due_at", sa.BigInteger, nullable=False),
        sa.Column("last_as_of", sa.BigInteger),
        sa.Column("last_finished_at", sa.BigInteger),
        sa.Column("last_error", sa.Text),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "requests",
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("key", sa.Text),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text),
        sa.Column("requested_at", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("decided_at", sa.BigInteger),
        sa.PrimaryKeyConstraint("request"),
        sa.UniqueConstraint("key"),
    )
    op.create_index("requests_state", "requests", ["state"])
    op.create_table(
        "runs",
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("active", sa.Integer),
        sa.Column("trigger", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("requested_at", sa.BigInteger, nullable=False),
        sa.Column("as_of", sa.BigInteger),
        sa.Column("started_at", sa.BigInteger),
        sa.Column("finished_at", sa.BigInteger),
        sa.Column("machine_started_at", sa.BigInteger),
        sa.Column("machine_finished_at", sa.BigInteger),
        sa.Column("heartbeat_at", sa.BigInteger),
        sa.Column("host", sa.Text),
        sa.Column("pid", sa.Integer),
        sa.Column("progress", sa.Text),
        sa.Column("version", sa.Text),
        sa.Column("outcome", sa.Text),
        sa.PrimaryKeyConstraint("run_id"),
        sa.UniqueConstraint("active"),
    )
    op.create_table(
        "events",
        sa.Column("seq", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("model_version", sa.Text),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("previous", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_index("events_kind", "events", ["kind", "seq"])
    op.create_table(
        "chain_head",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "samples",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("labels", sa.Text, nullable=False),
        sa.Column("value", sa.Double, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", "labels"),
    )
    op.create_table(
        "reports",
        sa.Column("report", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("model_version", sa.Text),
        sa.Column("path", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("report"),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("token", sa.Integer, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("settled_until", sa.BigInteger),
        sa.PrimaryKeyConstraint("name"),
    )
