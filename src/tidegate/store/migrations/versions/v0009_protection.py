"""Let calls say which fields left by which rules, and which did not."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add a column each; what is absent is nothing."""
    for name in ("sent", "withheld", "would"):
        op.add_column("calls", sa.Column(name, sa.Text))
    op.add_column("calls", sa.Column("weak", sa.Boolean, nullable=False, server_default=sa.false()))
