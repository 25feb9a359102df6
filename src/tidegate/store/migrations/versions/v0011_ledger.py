"""Keep which fields went to whom and about whom, and what was done for subjects who asked."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Make the tables, and let calls name whom they were about."""
    op.add_column("calls", sa.Column("purpose", sa.Text))
    op.add_column("calls", sa.Column("subjects", sa.Text))
    op.create_table(
        "ledger",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("call", sa.Text, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        *_names("client", "provider", "operation", "place", "category", "action", "purpose"),
        sa.Column("subject", sa.LargeBinary),
        sa.Column("object", sa.Text),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("agreements", sa.Text),
    )
    known = sa.text("subject IS NOT NULL")
    op.create_index(
        "ledger_by_subject",
        "ledger",
        ["client", "subject"],
        sqlite_where=known,
        postgresql_where=known,
    )
    op.create_table(
        "flows",
        *_names(
            *("client", "provider", "operation", "place", "category", "action", "purpose"),
            key=True,
        ),
        sa.Column("first_ms", sa.BigInteger, nullable=False),
        sa.Column("last_ms", sa.BigInteger, nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "subject_salts",
        *_names("client", key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("salt", sa.LargeBinary),
        sa.Column("mac", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "suppressions",
        *_names("client", key=True),
        sa.Column("subject", sa.LargeBinary, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        *_names("author", "request"),
    )
    op.create_table(
        "subject_requests",
        *_names("id", key=True),
        sa.Column("client", sa.Text, nullable=False, index=True),
        sa.Column("subject", sa.LargeBinary, nullable=False),
        *_names("kind", "act"),
        sa.Column("at", sa.BigInteger, nullable=False),
        *_names("author", "document", "digest"),
        sa.Column("is_done", sa.Boolean, nullable=False),
    )


def _names(*columns: str, key: bool = False) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, primary_key=key, nullable=False) for name in columns]
