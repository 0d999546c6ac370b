"""Corrected labels are found without reading the others."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    corrected = sa.text("correction")
    op.create_index("labels_corrections", "labels", ["seq"], sqlite_where=corrected, postgresql_where=corrected)
