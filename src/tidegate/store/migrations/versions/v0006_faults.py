"""Keep on record what breakers, stand-ins and second requests did to a call."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Give each call's record three more words."""
    for name in ("breaker", "failover", "hedge"):
        op.add_column("calls", sa.Column(name, sa.Text))
