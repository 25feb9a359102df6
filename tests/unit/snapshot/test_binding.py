"""A connection counts only where its provider still is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.declared import SHOPIFY, STRIPE, connection

from tidegate.domain.declaration import Variable
from tidegate.domain.oauth import TokenGrant
from tidegate.snapshot import is_bound


def test_same_origins_are_bound():
    assert is_bound(STRIPE, connection())


def test_template_is_bound_by_any_value_of_its_variable():
    assert is_bound(SHOPIFY, connection("shopify", origins=("https://acme.myshopify.test",)))


@pytest.mark.parametrize(
    "origin",
    [
        "https://acme.myshopify.test.evil.test",
        "https://evil.test",
        "http://acme.myshopify.test",
        "https://acme.myshopify.test:8443",
        "https://a.b.myshopify.test",
        "https://.myshopify.test",
    ],
)
def test_other_place_is_not_what_a_template_means(origin: str):
    assert not is_bound(SHOPIFY, connection("shopify", origins=(origin,)))


def test_value_that_breaks_the_variables_rule_is_not_bound():
    provider = replace(SHOPIFY, variable_rules=(Variable("shop", "[a-z]+"),))
    assert is_bound(provider, connection(origins=("https://acme.myshopify.test",)))
    assert not is_bound(provider, connection(origins=("https://acme1.myshopify.test",)))


def test_one_variable_has_one_value_in_all_origins():
    provider = replace(SHOPIFY, origins=("https://{shop}.api.test", "https://{shop}.files.test"))
    same = ("https://acme.api.test", "https://acme.files.test")
    mixed = ("https://acme.api.test", "https://globex.files.test")
    assert is_bound(provider, connection(origins=same))
    assert not is_bound(provider, connection(origins=mixed))


ISSUING = replace(
    SHOPIFY,
    token_grant=TokenGrant("client_credentials", "https://{shop}.id.test/{shop}/token"),
    variable_rules=(Variable("shop", "[a-z]+"),),
)
BOUND = "oauth2 https://acme.id.test/acme/token"


@pytest.mark.parametrize(
    ("scheme", "is_one"),
    [
        (BOUND, True),
        ("oauth2 https://globex.id.test/globex/token", False),
        ("oauth2 https://acme.id.test/globex/token", False),
        ("oauth2 https://acme.id.test.evil.test/acme/token", False),
        ("oauth2 https://evil.test/acme.id.test/acme/token", False),
        ("oauth2 https://a.b.id.test/a.b/token", False),
        ("oauth2 https://{shop}.id.test/{shop}/token", False),
        (f"{BOUND} dpop=ES256", False),
        ("header", False),
    ],
)
def test_a_token_endpoint_has_the_variables_of_the_origin(scheme: str, *, is_one: bool):
    origins = ("https://acme.myshopify.test",)
    made = connection("shopify", origins=origins, scheme=scheme)
    assert is_bound(ISSUING, made) is is_one


def test_an_issuer_has_the_variables_of_the_origin():
    grant = TokenGrant("client_credentials", issuer="https://{shop}.id.test")
    provider = replace(ISSUING, token_grant=grant)
    origins = ("https://acme.myshopify.test",)
    for issuer, is_one in (("acme", True), ("globex", False)):
        scheme = f"oauth2 https://elsewhere.test/token issuer=https://{issuer}.id.test"
        assert is_bound(provider, connection(origins=origins, scheme=scheme)) is is_one
