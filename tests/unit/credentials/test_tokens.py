from __future__ import annotations

import hashlib
import hmac
import re
import zlib
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.samples import NOON, declaration

from tidegate.credentials import AccessTokens, CredentialRefused, check_format
from tidegate.credentials.tokens import _checksum, _new_token
from tidegate.store import Store
from tidegate.vault import Vault

DECLARED = declaration()
SCANNER_RULE = re.compile(r"tdg_[0-9A-Za-z]{36}")
BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@pytest.fixture
def tokens(store: Store, vault: Vault) -> AccessTokens:
    return AccessTokens(store, vault)


def tokens_made(body: str) -> str:
    return f"tdg_{body}" + _checksum(f"tdg_{body}")


valid = st.text(alphabet=BASE62, min_size=30, max_size=30).map(tokens_made)


@given(valid)
def test_a_token_is_known_by_its_form(token: str):
    assert check_format(token)
    assert SCANNER_RULE.fullmatch(token)


@given(valid, st.integers(4, 39), st.sampled_from(BASE62))
def test_a_token_with_one_wrong_character_is_junk(token: str, at: int, character: str):
    wrong = token[:at] + character + token[at + 1 :]
    assert check_format(wrong) == (wrong == token)


@given(valid, st.integers(4, 38))
def test_a_token_with_two_characters_swapped_is_junk(token: str, at: int):
    swapped = token[:at] + token[at + 1] + token[at] + token[at + 2 :]
    assert check_format(swapped) == (swapped == token)


@given(st.one_of(st.text(max_size=60), st.text(alphabet=BASE62, max_size=40).map("tdg_{}".format)))
def test_junk_is_told_from_tokens_without_an_error(junk: str):
    assert not check_format(junk)


@pytest.mark.parametrize("around", ["{}\n", " {}", "{}a", "TDG_{}"])
def test_nothing_may_stand_around_a_token(around: str):
    assert not check_format(around.format(_new_token()))


def test_the_checksum_is_crc32_in_base62():
    body = "tdg_" + "0" * 30
    value = zlib.crc32(body.encode())
    assert sum(BASE62.index(c) * 62**n for n, c in enumerate(reversed(_checksum(body)))) == value
    assert len(_checksum(body)) == 6


def test_new_tokens_are_well_formed_and_differ():
    made = {_new_token() for _ in range(1000)}
    assert len(made) == 1000
    assert all(map(check_format, made))


def test_only_a_keyed_hash_of_a_token_is_kept(tokens: AccessTokens, vault: Vault):
    token, secret = tokens.create(DECLARED, "shop", now=NOON)
    key, text = vault.token_key().reveal(), secret.reveal()
    assert check_format(text.decode())
    assert token.hmac_hex == hmac.new(key, text, hashlib.sha256).hexdigest()
    assert tokens.list() == (token,)
    assert text.decode() not in repr(token)


def test_a_token_lives_thirty_days_and_at_most_ninety(tokens: AccessTokens):
    token, _ = tokens.create(DECLARED, "shop", now=NOON)
    assert token.expires_at - token.created_at == timedelta(days=30)
    assert tokens.create(DECLARED, "shop", days=90, now=NOON)
    for days in (0, -1, 91):
        with pytest.raises(CredentialRefused, match="day"):
            tokens.create(DECLARED, "agency", days=days, now=NOON)
    longer, _ = tokens.create(DECLARED, "agency", days=365, allow_long=True, now=NOON)
    assert longer.expires_at == NOON + timedelta(days=365)


def test_a_token_may_be_bound_to_a_client_and_to_providers(tokens: AccessTokens):
    token, _ = tokens.create(
        DECLARED, "agency", client="globex", providers=("pay", "maps", "pay"), now=NOON
    )
    assert (token.client, token.providers) == ("globex", ("maps", "pay"))


@pytest.mark.parametrize(
    ("consumer", "scope", "message"),
    [
        ("shp", {}, "did you mean `shop`"),
        ("shop", {"client": "globex"}, "only for `acme`"),
        ("shop", {"providers": ("pai",)}, "did you mean `pay`"),
    ],
)
def test_a_scope_that_is_not_declared_is_refused(
    tokens: AccessTokens, consumer: str, scope: dict[str, object], message: str
):
    with pytest.raises(CredentialRefused, match=message):
        tokens.create(DECLARED, consumer, **scope)
    assert tokens.list() == ()


def test_two_tokens_overlap_and_a_third_names_which_to_revoke(tokens: AccessTokens, store: Store):
    old, _ = tokens.create(DECLARED, "shop", now=NOON)
    new, _ = tokens.create(DECLARED, "shop", now=NOON + timedelta(days=20))
    store.tokens.touch({new.id: NOON + timedelta(days=21)})
    with pytest.raises(CredentialRefused) as refused:
        tokens.create(DECLARED, "shop", now=NOON + timedelta(days=22))
    message = str(refused.value)
    assert f"`{old.id}` (never used), `{new.id}` (last used 2026-03-22" in message
    tokens.revoke(old.id, now=NOON + timedelta(days=22))
    assert tokens.create(DECLARED, "shop", now=NOON + timedelta(days=22))


def test_expired_tokens_and_other_scopes_leave_room(tokens: AccessTokens):
    for _ in range(2):
        tokens.create(DECLARED, "agency", days=1, now=NOON)
        tokens.create(DECLARED, "agency", client="acme", days=1, now=NOON)
        tokens.create(DECLARED, "agency", providers=("pay",), days=1, now=NOON)
    assert tokens.create(DECLARED, "agency", now=NOON + timedelta(days=1))


def test_no_more_than_two_even_when_made_at_once(tokens: AccessTokens):
    def make(_: int) -> bool:
        try:
            tokens.create(DECLARED, "shop", now=NOON)
        except CredentialRefused:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(make, range(8))) == 2


def test_revoking_says_when_and_may_be_repeated(tokens: AccessTokens):
    token, _ = tokens.create(DECLARED, "shop", now=NOON)
    assert tokens.revoke(token.id, now=NOON).revoked_at == NOON
    assert tokens.revoke(token.id, now=NOON + timedelta(days=1)).revoked_at == NOON


def test_revoking_something_unknown_names_the_nearest(tokens: AccessTokens):
    token, secret = tokens.create(DECLARED, "shop", now=NOON)
    with pytest.raises(CredentialRefused, match=token.id):
        tokens.revoke(token.id[:-1] + "x")
    text = secret.reveal().decode()
    with pytest.raises(CredentialRefused, match="by its id") as refused:
        tokens.revoke(text)
    assert text not in str(refused.value)
