"""Let calls say by which decision of whom they are about their personal data went."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Add the column."""
    op.add_column("calls", sa.Column("subject_consent", sa.Text))
