"""What is asked of a token endpoint, and what is made of its answers."""

from __future__ import annotations

import base64
import json
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.credentials.token_endpoint import (
    LIFETIME_MAX_S,
    TokenAnswer,
    TokenRefusedError,
    Trouble,
    read_answer,
    token_request,
)
from tidegate.domain.oauth import TokenGrant
from tidegate.domain.secret import Secret

GRANT = TokenGrant("client_credentials", "https://id.test/token", scope="a b", lifetime_s=900)
FIELDS = {
    "client_id": Secret("an:id"),
    "client_secret": Secret("s+c/ret ä"),
    "refresh_token": Secret("rt-1"),
}


def read(body: object, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> TokenAnswer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_answer(GRANT, status, headers, content)


def refused(body: object, status: int = 200, **more: object) -> TokenRefusedError:
    with pytest.raises(TokenRefusedError) as error:
        read(body, status, **more)  # type: ignore[arg-type]
    return error.value


def test_the_secret_goes_by_basic_with_each_half_encoded():
    request = token_request(GRANT, FIELDS)
    header = dict(request.headers)["authorization"].removeprefix("Basic ")
    assert base64.b64decode(header) == b"an%3Aid:s%2Bc%2Fret+%C3%A4"
    assert parse_qs(request.body.reveal().decode()) == {
        "grant_type": ["client_credentials"], "scope": ["a b"],
    }  # fmt: skip


def test_the_secret_goes_in_the_body_where_the_provider_wants_it_there():
    grant = TokenGrant(
        "refresh_token",
        "https://id.test/token",
        client_auth="post",
        parameters=(("audience", "x"),),
    )
    request = token_request(grant, FIELDS)
    assert "authorization" not in dict(request.headers)
    assert parse_qs(request.body.reveal().decode()) == {
        "grant_type": ["refresh_token"], "refresh_token": ["rt-1"], "audience": ["x"],
        "client_id": ["an:id"], "client_secret": ["s+c/ret ä"],
    }  # fmt: skip


def test_a_public_client_shows_its_name_alone():
    grant = TokenGrant("refresh_token", "https://id.test/token", client_auth="none")
    assert grant.fields == ("client_id", "refresh_token")
    assert b"client_secret" not in token_request(grant, FIELDS).body.reveal()


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (60, 60), ("3600", 3600), (59.9, 59), (None, 900), ("soon", 900), (0, 900), (-5, 900),
        (True, 900), (1e400, 900), (10**15, LIFETIME_MAX_S), (0.5, 1),
    ],
)  # fmt: skip
def test_a_lifetime_is_what_is_said_or_what_is_declared(said: object, seconds: int):
    if said == 1e400:
        body: object = b'{"access_token": "t", "expires_in": 1e400}'
        assert read(body).lifetime_s == LIFETIME_MAX_S
        return
    assert read({"access_token": "t", "expires_in": said}).lifetime_s == seconds


def test_a_new_refresh_token_replaces_the_old_and_none_leaves_it():
    answer = read({"access_token": "t", "refresh_token": "rt-2"})
    assert answer.refresh_token is not None
    assert answer.refresh_token.reveal() == b"rt-2"
    assert read({"access_token": "t"}).refresh_token is None
    assert read({"access_token": "t", "refresh_token": ""}).refresh_token is None


@pytest.mark.parametrize(
    ("body", "status", "trouble", "word"),
    [
        ({"error": "invalid_grant"}, 400, Trouble.CONSENT_GONE, "invalid_grant"),
        ({"ok": False, "error": "invalid_refresh_token"}, 200, Trouble.CONSENT_GONE,
         "invalid_refresh_token"),
        ({"error": "invalid_client"}, 401, Trouble.OUR_FAULT, "invalid_client"),
        ({"error": "invalid_scope", "error_description": "s3cret"}, 400, Trouble.OUR_FAULT,
         "invalid_scope"),
        ({"error": {"message": "s3cret"}}, 400, Trouble.OUR_FAULT, "unreadable"),
        ({"error": "s3cret and more"}, 400, Trouble.OUR_FAULT, "unreadable"),
        ({"error": "invalid_grant"}, 503, Trouble.AWAY, "invalid_grant"),
        ({"ok": False, "error": "ratelimited"}, 200, Trouble.AWAY, "ratelimited"),
        (b"<html>s3cret", 502, Trouble.AWAY, "status_502"),
        (b"<html>s3cret", 200, Trouble.OUR_FAULT, "unreadable_answer_200"),
        (b"", 204, Trouble.OUR_FAULT, "unreadable_answer_204"),
        (b"", 302, Trouble.OUR_FAULT, "unreadable_answer_302"),
        ({"access_token": ""}, 200, Trouble.OUR_FAULT, "unusable_token"),
        ({"access_token": "a\r\nb"}, 200, Trouble.OUR_FAULT, "unusable_token"),
        ({"access_token": ["t"]}, 200, Trouble.OUR_FAULT, "unusable_token"),
        ({"access_token": "t", "refresh_token": 5}, 200, Trouble.OUR_FAULT, "unusable_token"),
        ({"access_token": "t", "token_type": "mac"}, 200, Trouble.OUR_FAULT, "unknown_token_type"),
        ([{"access_token": "t"}], 200, Trouble.OUR_FAULT, "unreadable_answer_200"),
        (b"[" * 50_000, 200, Trouble.OUR_FAULT, "unreadable_answer_200"),
    ],
)  # fmt: skip
def test_a_refusal_is_one_word_of_one_kind(body: object, status: int, trouble: Trouble, word: str):
    told = refused(body, status)
    assert (told.trouble, told.word) == (trouble, word)
    assert "s3cret" not in str(told)


def test_a_busy_endpoint_says_when_to_come_again():
    told = refused({}, 429, headers=(("Retry-After", "17"),))
    assert (told.trouble, told.retry_after_s) == (Trouble.AWAY, 17)
    assert refused({}, 429, headers=(("Retry-After", "tomorrow"),)).retry_after_s is None


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
)  # fmt: skip
KEYS = st.sampled_from(["access_token", "refresh_token", "expires_in", "token_type", "error", "ok"])


@given(st.dictionaries(KEYS, JSON), st.integers(100, 599))
def test_no_answer_makes_it_fail(body: dict[str, object], status: int):
    try:
        answer = read(body, status)
    except TokenRefusedError:
        return
    assert status == 200
    assert 1 <= answer.lifetime_s <= LIFETIME_MAX_S
    assert answer.access_token


@given(st.binary(max_size=100), st.integers(100, 599))
def test_no_bytes_make_it_fail(body: bytes, status: int):
    with pytest.raises(TokenRefusedError):
        read(body, status)
