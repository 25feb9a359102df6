"""What a command may do to an installation's state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.declared import DECLARATION, SHOPIFY, STRIPE
from support.gate import home

from tidegate.app import Services, load_declaration, services
from tidegate.catalog import ConfigErrors
from tidegate.domain.attach import AttachHeader
from tidegate.domain.declaration import Client
from tidegate.engine import EngineError
from tidegate.vault import RootRefused

OTHER = replace(DECLARATION, clients=(*DECLARATION.clients, Client("initech")))


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Services]:
    with services(home(tmp_path)) as opened:
        yield opened


def test_root_key_is_made_once(state: Services):
    made = state.make_root_key()
    assert made is not None
    assert made.path.stat().st_mode & 0o777 == 0o600
    assert state.make_root_key() is None


def test_lost_root_key_is_missed_and_not_replaced(tmp_path: Path, state: Services):
    state.make_root_key()
    state.vault.token_key()
    state.home.root_key.unlink()
    with services(home(tmp_path)) as again:
        assert again.make_root_key() is None
        with pytest.raises(RootRefused, match="missing"):
            again.vault.token_key()


def test_records_are_read_without_the_root_key(state: Services):
    assert state.store.calls.recent().calls == ()
    assert state.store.revisions.current() is None


def test_same_declaration_makes_no_revision(state: Services):
    first = state.apply(DECLARATION, author="ann")
    assert first is not None
    assert first.number == 1
    assert state.apply(DECLARATION, author="ann") is None


def test_what_the_engine_would_refuse_is_not_stored(state: Services):
    bad = replace(STRIPE, attach=(AttachHeader("not a header", "token"),))
    with pytest.raises(EngineError, match="header"):
        state.apply(replace(DECLARATION, providers=(bad, SHOPIFY)), author="ann")
    assert state.store.revisions.current() is None


def test_rollback_is_a_new_revision_that_says_so(state: Services):
    state.apply(DECLARATION, author="ann")
    state.apply(OTHER, author="ann")
    made = state.rollback(1, author="bob", note="too early")
    assert made is not None
    assert (made.number, made.declaration) == (3, DECLARATION)
    assert made.note == "rollback to revision 1: too early"
    assert state.rollback(1, author="bob") is None


def test_rollback_to_nothing_is_an_error(state: Services):
    with pytest.raises(KeyError):
        state.rollback(1, author="ann")


def test_last_declared_looks_past_rollbacks(state: Services):
    assert state.last_declared() is None
    state.apply(DECLARATION, author="ann")
    state.apply(OTHER, author="ann")
    state.rollback(1, author="bob")
    state.rollback(2, author="bob")
    state.rollback(1, author="bob")
    last = state.last_declared()
    assert last is not None
    assert last.number == 2


def test_explain_answers_for_the_revision_in_force(state: Services):
    with pytest.raises(LookupError):
        state.explain("shop", "GET", "/stripe/v1/charges", client="acme")
    state.apply(DECLARATION, author="ann")
    told = state.explain("shop", "POST", "https://api.stripe.test/v1/refunds", client="acme")
    assert told.outcome == "denied"
    assert told.operation == "PostRefunds"


def test_document_is_fetched_by_the_engine_and_its_rules(tmp_path: Path):
    (tmp_path / "tidegate.yaml").write_text(
        "version: 1\nproviders:\n  inward:\n    origin: https://api.inward.example\n"
        "    auth: bearer\n    openapi: https://127.0.0.1:1/openapi.json\n"
    )
    with pytest.raises(ConfigErrors, match="address is prohibited") as wrong:
        load_declaration(tmp_path / "tidegate.yaml")
    assert wrong.value.errors[0].line == 6
