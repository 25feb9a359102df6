"""Keep how far each rotation of a credential has come, and what the running gateways follow."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the tables, and note of connections what they were not asked before."""
    op.add_column(
        "connections", sa.Column("entered", sa.Integer, nullable=False, server_default="0")
    )
    op.add_column("connections", sa.Column("issued_at", sa.BigInteger))
    op.create_table(
        "rotations",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("connection", sa.Text, nullable=False),
        sa.Column("active", sa.Text, unique=True),
        sa.Column("client", sa.Text, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("overlap_class", sa.Text, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("entered", sa.Integer, nullable=False),
        sa.Column("old_version", sa.Integer, nullable=False),
        sa.Column("new_version", sa.Integer),
        sa.Column("old_id", sa.Text),
        sa.Column("new_id", sa.Text),
        sa.Column("known_ids", sa.Text),
        sa.Column("asked", sa.Text),
        sa.Column("asked_at", sa.BigInteger),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("state_at", sa.BigInteger, nullable=False),
        sa.Column("promoted_at", sa.BigInteger),
        sa.Column("generation", sa.BigInteger),
        sa.Column("task", sa.Text),
        sa.Column("trouble", sa.Text),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("retry_at", sa.BigInteger),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("holder", sa.Text),
        sa.Column("held_until", sa.BigInteger),
    )
    op.create_table(
        "gateways",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("seen_at", sa.BigInteger, nullable=False),
    )
