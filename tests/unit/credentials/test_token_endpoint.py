"""What is asked of a token endpoint, and what is made of its answers."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import JWKRegistry

from tidegate.catalog import presets
from tidegate.catalog.origins import fill_endpoints
from tidegate.credentials.dpop import new_key, public_jwk, thumbprint
from tidegate.credentials.token_endpoint import (
    LIFETIME_MAX_S,
    TokenAnswer,
    TokenRefusedError,
    Trouble,
    client_request,
    read_answer,
    token_request,
)
from tidegate.domain.oauth import Expiry, ExpiryUnit, TokenGrant, bound_grant
from tidegate.domain.secret import Secret

NOW = 1_782_907_200  # 2026-07-01T12:00:00Z
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


@pytest.mark.parametrize(
    ("unit", "said", "seconds"),
    [
        ("ms", 90_000, 90), ("ms", "90500", 90), ("epoch_s", NOW + 60, 60), ("epoch_s", NOW - 60, 1),
        ("epoch_s", str(NOW + 60), 60), ("epoch_ms", (NOW + 60) * 1_000, 60),
        ("rfc3339", "2026-07-01T12:01:00Z", 60), ("rfc3339", "2026-07-01T14:01:00+02:00", 60),
        # What cannot be told is as if nothing were said.
        ("rfc3339", "2026-07-01T12:01:00", 900), ("rfc3339", "soon", 900), ("rfc3339", 5, 900),
        ("rfc3339", None, 900), ("ms", "soon", 900), ("epoch_s", 10**400, LIFETIME_MAX_S),
    ],
)  # fmt: skip
def test_a_provider_may_say_it_in_another_way(unit: ExpiryUnit, said: object, seconds: int):
    grant = replace(GRANT, expiry=Expiry("until", unit))
    body = json.dumps({"access_token": "t", "expires_in": 5, "until": said}).encode()
    assert read_answer(grant, 200, (), body, NOW).lifetime_s == seconds


def test_a_request_may_be_json_or_stand_in_the_query():
    grant = replace(GRANT, client_auth="post", request="json")
    request = token_request(grant, FIELDS)
    assert dict(request.headers)["content-type"] == "application/json"
    assert json.loads(request.body.reveal()) == {
        "grant_type": "client_credentials", "scope": "a b",
        "client_id": "an:id", "client_secret": "s+c/ret ä",
    }  # fmt: skip
    request = token_request(replace(grant, request="query"), FIELDS)
    assert request.query is not None
    assert parse_qs(request.query.reveal().decode())["client_secret"] == ["s+c/ret ä"]
    assert (request.body.reveal(), "content-type" in dict(request.headers)) == (b"", False)
    assert "s+c" not in repr(request)


def test_a_request_for_a_bound_token_proves_the_key():
    grant = replace(GRANT, dpop="ES256")
    fields = FIELDS | {"dpop_key": new_key("ES256")}
    request = token_request(grant, fields, NOW)
    assert request.prover is not None
    name, proof = request.prover.header("a-nonce")
    key = JWKRegistry.import_key(public_jwk(fields["dpop_key"]))
    decoded = jwt.decode(proof, key, algorithms=["ES256"])
    assert (name, decoded.header["typ"]) == ("dpop", "dpop+jwt")
    assert decoded.header["jwk"] == public_jwk(fields["dpop_key"])
    claims = decoded.claims
    assert (claims["htm"], claims["htu"]) == ("POST", "https://id.test/token")
    assert (claims["iat"], claims["nonce"]) == (NOW, "a-nonce")
    # An endpoint that is not the token endpoint is shown none.
    assert client_request(grant, "https://id.test/revoke", {}, fields).prover is None
    for kind in ("bearer", None, "mac", 5):
        said = {"access_token": "t"} | ({} if kind is None else {"token_type": kind})
        with pytest.raises(TokenRefusedError, match="unknown_token_type"):
            read_answer(grant, 200, (), json.dumps(said).encode())
    body = b'{"access_token": "t", "token_type": "dpop"}'
    assert read_answer(grant, 200, (), body).access_token.reveal() == b"t"
    assert refused({"access_token": "t", "token_type": "DPoP"}).word == "unknown_token_type"


def test_a_key_is_named_by_its_thumbprint():
    """RFC 7638 §3.2's method, on the key of RFC 8037 §A.3."""
    d = base64.urlsafe_b64decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
    pem = Ed25519PrivateKey.from_private_bytes(d).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    assert thumbprint(Secret(pem)) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


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
        ({"ok": False}, 200, Trouble.OUR_FAULT, "unreadable_answer_200"),
        ({"ok": False, "access_token": "t"}, 200, Trouble.OUR_FAULT, "unreadable_answer_200"),
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


def test_parameters_name_the_account_that_the_token_endpoint_is_of():
    declared = replace(
        GRANT,
        token_url="https://{domain}/oauth/token",
        parameters=(("audience", "https://{domain}/api/v2/"), ("template", "{other}")),
    )
    filled = replace(declared, token_url="https://acme.eu.auth0.com/oauth/token")
    bound = bound_grant(declared, filled.scheme)
    assert bound is not None
    asked = parse_qs(token_request(bound, FIELDS).body.reveal().decode())
    assert asked["audience"] == ["https://acme.eu.auth0.com/api/v2/"]
    assert asked["template"] == ["{other}"]


def test_the_question_for_consent_names_the_account_too():
    declared = presets()["auth0"].provider
    grant = declared.token_grant
    assert grant is not None
    asking = replace(grant, authorize_parameters=grant.parameters)
    made = fill_endpoints(
        replace(declared, token_grant=asking), {"domain": "ACME.eu.auth0.com"}
    ).token_grant
    assert made is not None
    assert made.authorize_parameters == (("audience", "https://acme.eu.auth0.com/api/v2/"),)
