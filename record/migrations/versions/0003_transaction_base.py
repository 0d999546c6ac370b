"""What is added to PostgreSQL's count of transactions, so that a record restored elsewhere is read on."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "transaction_base",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("base", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
