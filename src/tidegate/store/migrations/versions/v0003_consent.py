"""Keep the questions for a person's consent while they are open."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "consents",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("link_hmac", sa.Text, nullable=False, unique=True),
        sa.Column("connection", sa.Text, nullable=False),
        sa.Column("client", sa.Text, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("scheme", sa.Text, nullable=False),
        sa.Column("origins", sa.Text, nullable=False),
        sa.Column("fields", sa.Text, nullable=False),
        sa.Column("made_at", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("begun_at", sa.BigInteger),
        sa.Column("state_hmac", sa.Text, unique=True),
        sa.Column("browser_hmac", sa.Text),
        sa.Column("kek_version", sa.Integer),
        sa.Column("wrapped_dek", sa.LargeBinary),
        sa.Column("payload", sa.LargeBinary),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("outcome", sa.Text),
    )
