"""Let a call's record say how it came by its provider's quotas."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Give calls the verdict, the wait and the cost."""
    op.add_column("calls", sa.Column("quota", sa.Text))
    op.add_column("calls", sa.Column("wait_ms", sa.BigInteger))
    op.add_column("calls", sa.Column("cost", sa.BigInteger))
