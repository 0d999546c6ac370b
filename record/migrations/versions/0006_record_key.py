"""The value by which the record knows its key."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "record_key",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("check_value", sa.Text, nullable=False),
        sa.Column("unkeyed_digests", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
