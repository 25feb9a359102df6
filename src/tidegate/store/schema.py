"""The tables as they are now.

`migrations/` tells how a database gets here; a test compares the two.
"""

from __future__ import annotations

import sqlalchemy as sa

from tidegate.store.columns import Instant, Names

HEAD = "0016"
"""The newest migration: opening a store compares this, and loads Alembic only when it must."""

metadata = sa.MetaData()

# One row. Its value grows in the same transaction as every change that the snapshot depends on, so
# that a running gateway notices what another process wrote.
generation = sa.Table(
    "generation",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("value", sa.BigInteger, nullable=False),
)

# Append-only: triggers refuse UPDATE and DELETE.
revisions = sa.Table(
    "revisions",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", Instant, nullable=False),
    sa.Column("author", sa.Text, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("declaration", sa.LargeBinary, nullable=False),
)

# What operators did, by which agreements come to be. Append-only, as revisions are; `mac` chains each
# entry to the one before, and the one row of `acts_head` names the newest.
acts = sa.Table(
    "acts",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", Instant, nullable=False),
    sa.Column("operator", sa.Text, nullable=False),
    sa.Column("login", sa.Text, nullable=False),
    sa.Column("act", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("details", sa.Text, nullable=False),
    sa.Column("mac", sa.LargeBinary, nullable=False),
)
acts_head = sa.Table(
    "acts_head",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("seq", sa.Integer, nullable=False),
    sa.Column("mac", sa.LargeBinary, nullable=False),
)

access_tokens = sa.Table(
    "access_tokens",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("consumer", sa.Text, nullable=False),
    sa.Column("client", sa.Text),
    sa.Column("providers", Names, nullable=False),
    sa.Column("hmac_hex", sa.Text, nullable=False, unique=True),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("expires_at", Instant, nullable=False),
    sa.Column("revoked_at", Instant),
    sa.Column("last_used_at", Instant),
)

connections = sa.Table(
    "connections",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("client", sa.Text, nullable=False),
    sa.Column("provider", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("scheme", sa.Text, nullable=False),
    sa.Column("origins", Names, nullable=False),
    sa.Column("fields", Names, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("rotated_at", Instant, nullable=False),
    sa.Column("entered", sa.Integer, nullable=False, server_default="0"),
    sa.Column("issued_at", Instant),
    sa.UniqueConstraint("client", "provider", "name"),
)

sealed_credentials = sa.Table(
    "sealed_credentials",
    metadata,
    sa.Column("connection", sa.Text, sa.ForeignKey("connections.id"), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("kek_version", sa.Integer, nullable=False),
    sa.Column("wrapped_dek", sa.LargeBinary, nullable=False),
    sa.Column("payload", sa.LargeBinary, nullable=False),
)

# A connection's newest token, and who may ask for the next one. `serial` counts the tokens, `fence`
# those who were allowed to ask: an answer counts only for the fence it was asked under.
issued_tokens = sa.Table(
    "issued_tokens",
    metadata,
    sa.Column("connection", sa.Text, sa.ForeignKey("connections.id"), primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("serial", sa.Integer, nullable=False),
    sa.Column("kek_version", sa.Integer),
    sa.Column("wrapped_dek", sa.LargeBinary),
    sa.Column("payload", sa.LargeBinary),
    sa.Column("issued_at", Instant),
    sa.Column("expires_at", Instant),
    sa.Column("fence", sa.Integer, nullable=False),
    sa.Column("holder", sa.Text),
    sa.Column("held_until", Instant),
    sa.Column("asked_at", Instant),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("retry_at", Instant),
    sa.Column("trouble", sa.Text),
    sa.Column("ended", sa.Boolean, nullable=False),
)

# A question for a person's consent, while it is open: from the link that was sent to the callback. The
# link, the state and the browser's mark are kept as keyed hashes; what tokens are asked for with is
# sealed. `begun_at`: the link was used, and is used up.
consents = sa.Table(
    "consents",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("link_hmac", sa.Text, nullable=False, unique=True),
    sa.Column("connection", sa.Text, nullable=False),
    sa.Column("client", sa.Text, nullable=False),
    sa.Column("provider", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("scheme", sa.Text, nullable=False),
    sa.Column("origins", Names, nullable=False),
    sa.Column("fields", Names, nullable=False),
    sa.Column("made_at", Instant, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("expires_at", Instant, nullable=False),
    sa.Column("begun_at", Instant),
    sa.Column("state_hmac", sa.Text, unique=True),
    sa.Column("browser_hmac", sa.Text),
    sa.Column("kek_version", sa.Integer),
    sa.Column("wrapped_dek", sa.LargeBinary),
    sa.Column("payload", sa.LargeBinary),
    sa.Column("ended_at", Instant),
    sa.Column("outcome", sa.Text),
)

# Each replacement of a connection's credential, and who is at work on it. `active` is the connection
# while the rotation is not over, so that a connection has one at a time. It outlives its connection:
# a key that was made may still have to be deleted. `asked` is the request whose outcome is not known.
rotations = sa.Table(
    "rotations",
    metadata,
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
    sa.Column("known_ids", Names),
    sa.Column("asked", sa.Text),
    sa.Column("asked_at", Instant),
    sa.Column("started_at", Instant, nullable=False),
    sa.Column("state_at", Instant, nullable=False),
    sa.Column("promoted_at", Instant),
    sa.Column("generation", sa.BigInteger),
    sa.Column("task", sa.Text),
    sa.Column("trouble", sa.Text),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("retry_at", Instant),
    sa.Column("fence", sa.Integer, nullable=False),
    sa.Column("holder", sa.Text),
    sa.Column("held_until", Instant),
)

# Which generation each running gateway's engine has taken up.
gateways = sa.Table(
    "gateways",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("generation", sa.BigInteger, nullable=False),
    sa.Column("seen_at", Instant, nullable=False),
)

keks = sa.Table(
    "keks",
    metadata,
    sa.Column("client", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("wrapped", sa.LargeBinary, nullable=False),
    sa.Column("root", sa.Integer, nullable=False, server_default="1"),
)

# What the keys are made of by which a client's values are protected, sealed by the client's key.
protection_roots = sa.Table(
    "protection_roots",
    metadata,
    sa.Column("client", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("kek_version", sa.Integer, nullable=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
)

# The keys of single persons, each sealed by what is made of one of the client's protection roots.
person_keys = sa.Table(
    "person_keys",
    metadata,
    sa.Column("client", sa.Text, primary_key=True),
    sa.Column("subject", sa.LargeBinary, primary_key=True),
    sa.Column("id", sa.LargeBinary, nullable=False),
    sa.Column("root", sa.Integer, nullable=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    sa.Index("ix_person_keys_id", "client", "id", unique=True),
)

# The root keys that something is sealed by: one, and while it is being replaced two. Each seals a
# known text, by which it is recognised, and the key of the access tokens. While there are two, each
# also seals the other (`handover`: the next by the one before; `handback`: the other way round).
roots = sa.Table(
    "roots",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("key_check", sa.LargeBinary, nullable=False),
    sa.Column("token_key", sa.LargeBinary, nullable=False),
    sa.Column("handover", sa.LargeBinary),
    sa.Column("handback", sa.LargeBinary),
)

# What a client has sealed, authenticated as a whole by a key that its KEK yields.
manifests = sa.Table(
    "manifests",
    metadata,
    sa.Column("client", sa.Text, primary_key=True),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("kek_version", sa.Integer, nullable=False),
    sa.Column("entries", sa.LargeBinary, nullable=False),
    sa.Column("mac", sa.LargeBinary, nullable=False),
)

# One row. Grows with every change of what is sealed, and its row lock makes such changes follow one
# another. `mac` covers all manifests; it is kept where there is an anchor to compare it with.
vault_epoch = sa.Table(
    "vault_epoch",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("value", sa.BigInteger, nullable=False),
    sa.Column("mac", sa.LargeBinary, nullable=False),
)

# Connections whose refresh token may have been used up since the backup that it was restored from.
suspect_grants = sa.Table(
    "suspect_grants",
    metadata,
    sa.Column("connection", sa.Text, sa.ForeignKey("connections.id"), primary_key=True),
    sa.Column("since", Instant, nullable=False),
)

# The vault's own values (salts of passphrases), each written once.
vault_values = sa.Table(
    "vault_values",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.LargeBinary, nullable=False),
)

# `seq` is the order in which records were stored, from which a follower can resume; `id` is the
# call's own.
calls = sa.Table(
    "calls",
    metadata,
    sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("client", sa.Text, index=True),
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
    sa.Column("cache", sa.Text),
    sa.Column("steps_us", sa.Text, nullable=False),
    sa.Column("query", sa.Text, nullable=False),
    sa.Column("breaker", sa.Text),
    sa.Column("failover", sa.Text),
    sa.Column("hedge", sa.Text),
    sa.Column("quota", sa.Text),
    sa.Column("wait_ms", sa.BigInteger),
    sa.Column("cost", sa.BigInteger),
    sa.Column("schema", sa.Text),
    sa.Column("sent", sa.Text),
    sa.Column("withheld", sa.Text),
    sa.Column("would", sa.Text),
    sa.Column("weak", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("agreements", sa.Text),
    sa.Column("purpose", sa.Text),
    sa.Column("subjects", sa.Text),
    sa.Column("subject_consent", sa.Text),
)

# Calls summed by hour, in the transaction that stores them. `latency` is a class of duration
# (see `calls.py`), so that the rows of one operation are its histogram. Absent names are empty
# text, because a primary key holds no NULL.
usage_hours = sa.Table(
    "usage_hours",
    metadata,
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
    sa.Column("saved", sa.BigInteger, nullable=False, server_default="0"),
)

gaps = sa.Table(
    "gaps",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("noticed_ms", sa.BigInteger, nullable=False),
    sa.Column("after_ms", sa.BigInteger, nullable=False),
    sa.Column("events_max", sa.BigInteger, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
)

# What was sent to whom, without a value: a row for each field of a call, and for each subject that the
# call was about (`subject` is a keyed index). `place` is the selector of the rule that let it go.
ledger = sa.Table(
    "ledger",
    metadata,
    sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("call", sa.Text, nullable=False),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("client", sa.Text, nullable=False),
    sa.Column("provider", sa.Text, nullable=False),
    sa.Column("operation", sa.Text, nullable=False),
    sa.Column("place", sa.Text, nullable=False),
    sa.Column("category", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("subject", sa.LargeBinary),
    sa.Column("object", sa.Text),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("agreements", sa.Text),
)
sa.Index(
    "ledger_by_subject",
    ledger.c.client,
    ledger.c.subject,
    sqlite_where=ledger.c.subject.is_not(None),
    postgresql_where=ledger.c.subject.is_not(None),
)

# The ledger summed up, in the transaction that writes it: each call's field counts once.
flows = sa.Table(
    "flows",
    metadata,
    sa.Column("client", sa.Text, primary_key=True),
    sa.Column("provider", sa.Text, primary_key=True),
    sa.Column("operation", sa.Text, primary_key=True),
    sa.Column("place", sa.Text, primary_key=True),
    sa.Column("category", sa.Text, primary_key=True),
    sa.Column("action", sa.Text, primary_key=True),
    sa.Column("purpose", sa.Text, primary_key=True),
    sa.Column("first_ms", sa.BigInteger, nullable=False),
    sa.Column("last_ms", sa.BigInteger, nullable=False),
    sa.Column("count", sa.BigInteger, nullable=False),
)

# What operations without a policy were seen to send, where that is asked for: places and kinds, counted
# with each `mark` apart (empty: without one). `place` is a selector, empty for calls as a whole.
shapes = sa.Table(
    "shapes",
    metadata,
    sa.Column("client", sa.Text, primary_key=True),
    sa.Column("provider", sa.Text, primary_key=True),
    sa.Column("operation", sa.Text, primary_key=True),
    sa.Column("place", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("mark", sa.Text, primary_key=True),
    sa.Column("first_ms", sa.BigInteger, nullable=False),
    sa.Column("last_ms", sa.BigInteger, nullable=False),
    sa.Column("count", sa.BigInteger, nullable=False),
)

# By what each client's subjects are indexed, together with the key of access tokens. `salt` is NULL once
# it is destroyed, and with it every way from a person to the rows about them; the next has a new number.
subject_salts = sa.Table(
    "subject_salts",
    metadata,
    sa.Column("client", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("salt", sa.LargeBinary),
    sa.Column("mac", sa.LargeBinary, nullable=False),
)

# Subjects of whom nothing is sent any more for a client.
suppressions = sa.Table(
    "suppressions",
    metadata,
    sa.Column("client", sa.Text, primary_key=True),
    sa.Column("subject", sa.LargeBinary, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("since", Instant, nullable=False),
    sa.Column("author", sa.Text, nullable=False),
    sa.Column("request", sa.Text, nullable=False),
)

# What was done for subjects who asked, with the document that proves it.
subject_requests = sa.Table(
    "subject_requests",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("client", sa.Text, nullable=False, index=True),
    sa.Column("subject", sa.LargeBinary, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("act", sa.Text, nullable=False),
    sa.Column("at", Instant, nullable=False),
    sa.Column("author", sa.Text, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("is_done", sa.Boolean, nullable=False),
)
