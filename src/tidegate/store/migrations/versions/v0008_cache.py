"""Let calls say what the cache did for them, and usage how many calls it saved."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add a column each."""
    op.add_column("calls", sa.Column("cache", sa.Text))
    op.add_column(
        "usage_hours", sa.Column("saved", sa.BigInteger, nullable=False, server_default="0")
    )
