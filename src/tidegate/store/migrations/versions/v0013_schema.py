"""Let calls say what of them does not fit what is declared, and is let through."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add the column."""
    op.add_column("calls", sa.Column("schema", sa.Text))
