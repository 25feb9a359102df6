"""Agreements to record, people who record them, and a calendar that a test turns."""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from support.running import Running
from tidegate.domain.agreement import ALL, Agreement
from tidegate.domain.secret import Secret
from tidegate.privacy import Acts, Agreements, Operator
from tidegate.store import Store

KEY = Secret(b"the key of operators' acts in tests")
ANNA = Operator("anna", "root")
BORIS = Operator("boris", "root")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def agreement(name: str = "acme-pay-dpa", **changes: Any) -> Agreement:
    """A processing agreement of acme with pay, for contact data in the EU, from February on."""
    values: dict[str, Any] = {
        "name": name,
        "kind": "dpa",
        "provider": "pay",
        "clients": ("acme",),
        "parties": ("Acme GmbH", "Pay SE"),
        "role": "processor",
        "categories": ("contact",),
        "purposes": ("payment",),
        "regions": ("eu",),
        "document": "ab" * 32,
        "starts": NOON - timedelta(days=28),
        "ends": NOON + timedelta(days=90),
    }
    return Agreement(**(values | changes))


@dataclass
class Book:
    """A register whose calendar stands at `now`."""

    store: Store
    acts: Acts
    now: datetime

    @property
    def agreements(self) -> Agreements:
        return Agreements(self.acts, lambda: self.now)

    def later(self, **time: float) -> None:
        self.now += timedelta(**time)

    def ask(self, **changes: Any):
        wanted: dict[str, Any] = {
            "client": "acme",
            "provider": "pay",
            "categories": ["contact.email"],
            "purposes": ["payment"],
            "hours": 4,
            "reason": "the signed copy is in the post",
        }
        return self.agreements.ask(ANNA, **(wanted | changes))


def tamper(database: Path, *statements: str) -> None:
    """Write a database behind Tidegate's back, as whoever owns the file can."""
    with sqlite3.connect(database, timeout=10) as connection:
        for act in ("update", "delete"):
            connection.execute(f"DROP TRIGGER IF EXISTS acts_refuse_{act}")
        for statement in statements:
            connection.execute(statement)
    connection.close()


def tamper_with(store: Store, *statements: str, **values: object) -> None:
    """The same on each engine, as whoever has the database's password can; `values` are bound."""
    database = store._database
    off, on = ["ALTER TABLE acts DISABLE TRIGGER USER"], ["ALTER TABLE acts ENABLE TRIGGER USER"]
    if database.is_sqlite:
        off, on = [f"DROP TRIGGER IF EXISTS acts_refuse_{act}" for act in ("update", "delete")], []
    with database.writing() as connection:
        for statement in (*off, *statements, *on):
            wanted = {name: value for name, value in values.items() if f":{name}" in statement}
            connection.execute(sa.text(statement), wanted)


def agree_to(gateway: Running, policies: str, *providers: str) -> None:
    """Record that all that policies send was agreed with the providers, once in a home's life."""
    categories = tuple(dict.fromkeys(re.findall(r"category: ([\w.]+)", policies)))
    if not categories or gateway.state.agreements.register().agreements:
        return
    for provider in providers:
        agreed = agreement(
            f"all-{provider}-dpa",
            provider=provider,
            clients=(ALL,),
            categories=categories,
            purposes=tuple(dict.fromkeys(re.findall(r"purpose: ([\w.]+)", policies))),
            starts=datetime.now(UTC) - timedelta(days=1),
            ends=None,
        )
        gateway.state.agreements.add(ANNA, agreed)
