"""Make the first tables.

A migration stands as it was written: it says its columns itself and imports nothing that may
change. Times are microseconds since 1970, `*_ms` milliseconds; lists of names are JSON arrays.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the first tables."""
    _make_declared()
    _make_secret()
    _make_recorded()
    _forbid_changes_to_revisions()


def _make_declared() -> None:
    generation = op.create_table(
        "generation",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("value", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(generation, [{"id": 1, "value": 0}])
    op.create_table(
        "revisions",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("declaration", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "access_tokens",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("consumer", sa.Text, nullable=False),
        sa.Column("client", sa.Text),
        sa.Column("providers", sa.Text, nullable=False),
        sa.Column("hmac_hex", sa.Text, nullable=False, unique=True),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("revoked_at", sa.BigInteger),
        sa.Column("last_used_at", sa.BigInteger),
    )
    op.create_table(
        "connections",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("client", sa.Text, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("scheme", sa.Text, nullable=False),
        sa.Column("origins", sa.Text, nullable=False),
        sa.Column("fields", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("rotated_at", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("client", "provider", "name"),
    )


def _make_secret() -> None:
    op.create_table(
        "sealed_credentials",
        sa.Column("connection", sa.Text, sa.ForeignKey("connections.id"), primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("kek_version", sa.Integer, nullable=False),
        sa.Column("wrapped_dek", sa.LargeBinary, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "keks",
        sa.Column("client", sa.Text, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("wrapped", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "vault_values",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.LargeBinary, nullable=False),
    )


def _make_recorded() -> None:
    op.create_table(
        "calls",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("client", sa.Text),
        sa.Column("consumer", sa.Text),
        sa.Column("provider", sa.Text),
        sa.Column("operation", sa.Text),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("decision", sa.Text),
        sa.Column("rule", sa.Text),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("detail", sa.Text),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("provider_status", sa.Integer),
        sa.Column("sent_bytes", sa.BigInteger, nullable=False),
        sa.Column("received_bytes", sa.BigInteger, nullable=False),
        sa.Column("total_us", sa.BigInteger, nullable=False),
        sa.Column("provider_us", sa.BigInteger),
        sa.Column("tls_version", sa.Text),
        sa.Column("tls_group", sa.Text),
        sa.Column("address", sa.Text),
        sa.Column("http", sa.Text, nullable=False),
        sa.Column("retries", sa.Integer, nullable=False),
        sa.Column("token", sa.Text),
        sa.Column("connection", sa.Text),
        sa.Column("steps_us", sa.Text, nullable=False),
        sa.Column("query", sa.Text, nullable=False),
    )
    op.create_index("ix_calls_client", "calls", ["client"])
    op.create_table(
        "usage_hours",
        sa.Column("hour", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("client", sa.Text, primary_key=True),
        sa.Column("provider", sa.Text, primary_key=True),
        sa.Column("operation", sa.Text, primary_key=True),
        sa.Column("latency", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("ok", sa.BigInteger, nullable=False),
        sa.Column("refused", sa.BigInteger, nullable=False),
        sa.Column("failed", sa.BigInteger, nullable=False),
        sa.Column("sent_bytes", sa.BigInteger, nullable=False),
        sa.Column("received_bytes", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "gaps",
        sa.Column("seq", sa.Integer, primary_key=True),
        sa.Column("noticed_ms", sa.BigInteger, nullable=False),
        sa.Column("after_ms", sa.BigInteger, nullable=False),
        sa.Column("events_max", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )


def _forbid_changes_to_revisions() -> None:
    """Guard against our own mistakes; whoever owns the database can drop a trigger."""
    if op.get_bind().dialect.name == "sqlite":
        for act in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER revisions_refuse_{act.lower()} BEFORE {act} ON revisions "
                "BEGIN SELECT RAISE(ABORT, 'revisions are append-only'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION tidegate_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'revisions are append-only'; END $$"
    )
    op.execute(
        "CREATE TRIGGER revisions_refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON revisions "
        "FOR EACH STATEMENT EXECUTE FUNCTION tidegate_append_only()"
    )
