"""Keep the tokens that providers issue, and who may ask for the next one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "issued_tokens",
        sa.Column("connection", sa.Text, sa.ForeignKey("connections.id"), primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("serial", sa.Integer, nullable=False),
        sa.Column("kek_version", sa.Integer),
        sa.Column("wrapped_dek", sa.LargeBinary),
        sa.Column("payload", sa.LargeBinary),
        sa.Column("issued_at", sa.BigInteger),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("holder", sa.Text),
        sa.Column("held_until", sa.BigInteger),
        sa.Column("asked_at", sa.BigInteger),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("retry_at", sa.BigInteger),
        sa.Column("trouble", sa.Text),
        sa.Column("ended", sa.Boolean, nullable=False),
    )
