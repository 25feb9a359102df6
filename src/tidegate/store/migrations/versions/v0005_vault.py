"""Let root keys be replaced, and rows that were rolled back be noticed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Give each wrapped key its root, each client its manifest, and the vault its epoch."""
    _make_roots()
    op.add_column("keks", sa.Column("root", sa.Integer, nullable=False, server_default="1"))
    op.create_table(
        "manifests",
        sa.Column("client", sa.Text, primary_key=True),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("kek_version", sa.Integer, nullable=False),
        sa.Column("entries", sa.LargeBinary, nullable=False),
        sa.Column("mac", sa.LargeBinary, nullable=False),
    )
    epoch = op.create_table(
        "vault_epoch",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("value", sa.BigInteger, nullable=False),
        sa.Column("mac", sa.LargeBinary, nullable=False),
    )
    op.bulk_insert(epoch, [{"id": 1, "value": 0, "mac": b""}])
    op.create_table(
        "suspect_grants",
        sa.Column("connection", sa.Text, sa.ForeignKey("connections.id"), primary_key=True),
        sa.Column("since", sa.BigInteger, nullable=False),
    )


def _make_roots() -> None:
    """What was sealed by the one root key there was becomes root 1."""
    op.create_table(
        "roots",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("key_check", sa.LargeBinary, nullable=False),
        sa.Column("token_key", sa.LargeBinary, nullable=False),
        sa.Column("handover", sa.LargeBinary),
        sa.Column("handback", sa.LargeBinary),
    )
    op.execute(
        "INSERT INTO roots (number, source, key_check, token_key) "
        "SELECT 1, 'not recorded', checked.value, tokens.value "
        "FROM vault_values AS checked, vault_values AS tokens "
        "WHERE checked.name = 'key-check' AND tokens.name = 'token-key'"
    )
    op.execute("DELETE FROM vault_values WHERE name IN ('key-check', 'token-key')")
