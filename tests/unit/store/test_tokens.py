from __future__ import annotations

from datetime import timedelta

import pytest
from support.samples import NOON, access_token

from tidegate.store import Store, StoreConflict


def test_a_token_comes_back_as_it_was(store: Store):
    token = access_token(client="acme", providers=("maps", "pay"))
    store.tokens.add(token)
    assert store.tokens.get("tok_1") == token
    assert store.tokens.all() == (token,)
    assert store.tokens.get("tok_2") is None


def test_revoking_ends_a_token_once(store: Store):
    store.tokens.add(access_token())
    before = store.generation()
    assert store.tokens.revoke("tok_1", NOON)
    assert not store.tokens.revoke("tok_1", NOON + timedelta(days=1))
    token = store.tokens.get("tok_1")
    assert token is not None
    assert token.revoked_at == NOON
    assert store.generation() > before
    assert not store.tokens.revoke("tok_2", NOON)


def test_last_use_only_moves_forward_and_changes_no_snapshot(store: Store):
    store.tokens.add(access_token())
    before = store.generation()
    later = NOON + timedelta(microseconds=1)
    store.tokens.touch({"tok_1": later, "tok_unknown": NOON})
    store.tokens.touch({"tok_1": NOON})
    store.tokens.touch({})
    token = store.tokens.get("tok_1")
    assert token is not None
    assert token.last_used_at == later
    assert store.generation() == before


def test_no_more_live_tokens_of_one_scope_than_allowed(store: Store):
    store.tokens.add(access_token(id="tok_1"), live_max=1)
    with pytest.raises(StoreConflict, match="`shop`"):
        store.tokens.add(access_token(id="tok_2"), live_max=1)
    store.tokens.add(access_token(id="tok_3", client="acme"), live_max=1)
    store.tokens.add(access_token(id="tok_4", providers=("pay",)), live_max=1)
    store.tokens.revoke("tok_1", NOON)
    store.tokens.add(access_token(id="tok_5"), live_max=1)
