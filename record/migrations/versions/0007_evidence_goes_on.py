"""A bout's evidence goes on from sums; its pairs keep their time, the bound of their answers, and their entity's first.

Open bouts have none of it: their sums are made from their pairs at the next look.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("bouts", sa.Column("evidence", sa.Text))
    op.add_column("pairs", sa.Column("requested_at", sa.BigInteger))
    op.add_column("pairs", sa.Column("bound", sa.Double))
    op.add_column("pairs", sa.Column("counts", sa.Boolean))
    op.create_table(
        "bout_entities",
        sa.Column("bout", sa.Text, nullable=False),
        sa.Column("entity", sa.BigInteger, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("bout", "entity"),
        sqlite_with_rowid=False,
    )
