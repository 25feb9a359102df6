"""Keep operators' acts, by which agreements come to be, and which agreements a call relied on."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Make the tables, and let the database refuse what is no addition."""
    op.create_table(
        "acts",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("operator", sa.Text, nullable=False),
        sa.Column("login", sa.Text, nullable=False),
        sa.Column("act", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("details", sa.Text, nullable=False),
        sa.Column("mac", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "acts_head",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("mac", sa.LargeBinary, nullable=False),
    )
    op.add_column("calls", sa.Column("agreements", sa.Text))
    _forbid_changes()


def _forbid_changes() -> None:
    """Guard against our own mistakes; against others' the entries are authenticated."""
    if op.get_bind().dialect.name == "sqlite":
        for act in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER acts_refuse_{act.lower()} BEFORE {act} ON acts "
                "BEGIN SELECT RAISE(ABORT, 'acts are append-only'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION tidegate_acts_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'acts are append-only'; END $$"
    )
    op.execute(
        "CREATE TRIGGER acts_refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON acts "
        "FOR EACH STATEMENT EXECUTE FUNCTION tidegate_acts_append_only()"
    )
