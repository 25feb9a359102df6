"""Keep the keys by which what is sent about single persons is sealed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Add their table."""
    op.create_table(
        "person_keys",
        sa.Column("client", sa.Text, primary_key=True),
        sa.Column("subject", sa.LargeBinary, primary_key=True),
        sa.Column("id", sa.LargeBinary, nullable=False),
        sa.Column("root", sa.Integer, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_person_keys_id", "person_keys", ["client", "id"], unique=True)
