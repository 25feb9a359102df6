"""Keep what operations without a policy were seen to send: places and kinds, never values."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"

_KEY = ("client", "provider", "operation", "place", "kind", "mark")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "shapes",
        *(sa.Column(name, sa.Text, primary_key=True, nullable=False) for name in _KEY),
        sa.Column("first_ms", sa.BigInteger, nullable=False),
        sa.Column("last_ms", sa.BigInteger, nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False),
    )
