from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import pytest
from support.samples import NOON, declaration

from tidegate.credentials import Connections, CredentialRefused, Revoked
from tidegate.domain.connection import Connection
from tidegate.domain.secret import Secret
from tidegate.store import Store
from tidegate.vault import Vault

DECLARED = declaration()
TOKEN = {"token": Secret("sk_1")}


@pytest.fixture
def connections(store: Store, vault: Vault) -> Connections:
    return Connections(store, vault)


def connect(
    connections: Connections,
    provider: str = "pay",
    *,
    client: str = "acme",
    name: str = "default",
    fields: Mapping[str, Secret] = TOKEN,
    variables: Mapping[str, str] | None = None,
    days: int = 0,
) -> Connection:
    at = NOON + timedelta(days=days)
    return connections.connect(DECLARED, provider, client, name, fields, variables or {}, now=at)


def test_a_connection_is_sealed_for_the_providers_origins(
    connections: Connections, store: Store, vault: Vault
):
    made = connect(connections)
    assert store.connections.all() == (made,)
    assert (made.version, made.scheme, made.fields) == (1, "header", ("token",))
    assert made.origins == ("https://api.pay.test",)
    assert vault.open(made)["token"].matches(TOKEN["token"])


def test_connecting_again_makes_the_next_version_of_the_same(
    connections: Connections, store: Store, vault: Vault
):
    first = connect(connections)
    second = connect(connections, fields={"token": Secret("sk_2")}, days=3)
    assert (second.id, second.version) == (first.id, 2)
    assert second.created_at == NOON
    assert second.rotated_at == NOON + timedelta(days=3)
    assert store.connections.all() == (second,)
    assert vault.open(second)["token"].reveal() == b"sk_2"


def test_two_accounts_at_one_provider_differ_by_name(connections: Connections, store: Store):
    one, other = connect(connections), connect(connections, name="eu")
    assert one.id != other.id
    assert {found.name for found in store.connections.all()} == {"default", "eu"}


def test_variables_are_filled_and_the_origin_is_bound(connections: Connections):
    made = connect(connections, "store", variables={"shop": "acme-eu"})
    assert made.origins == ("https://acme-eu.store.test",)


@pytest.mark.parametrize(
    "value", ["evil.test#", "evil.test/", "a@evil", "a.b", "", "x?y", "a b", "a:1", "a\n"]
)
def test_a_variable_cannot_lead_to_another_host(connections: Connections, store: Store, value: str):
    with pytest.raises(CredentialRefused, match="`shop`"):
        connect(connections, "store", variables={"shop": value})
    assert store.connections.all() == ()


@pytest.mark.parametrize(
    ("provider", "variables"), [("store", {}), ("pay", {"shop": "x"}), ("store", {"shp": "x"})]
)
def test_variables_that_are_missing_or_not_wanted_are_refused(
    connections: Connections, provider: str, variables: dict[str, str]
):
    with pytest.raises(CredentialRefused):
        connect(connections, provider, variables=variables)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"provider": "pai"}, "did you mean `pay`"),
        ({"client": "acm"}, "did you mean `acme`"),
        ({"name": "Not a name"}, "name"),
        ({"name": ""}, "name"),
    ],
)
def test_what_is_not_declared_is_refused(
    connections: Connections, store: Store, where: dict[str, str], message: str
):
    with pytest.raises(CredentialRefused, match=message):
        connect(connections, **where)
    assert store.connections.all() == ()


def test_a_refused_secret_leaves_the_one_before_in_place(
    connections: Connections, store: Store, vault: Vault
):
    made = connect(connections)
    with pytest.raises(CredentialRefused):
        connect(connections, fields={"token": Secret("two\nlines")})
    assert store.connections.all() == (made,)
    assert vault.open(made)["token"].matches(TOKEN["token"])


def test_the_wanted_fields_can_be_asked_for(connections: Connections):
    assert connections.fields(DECLARED, "text") == ("account", "secret")
    assert connections.fields(DECLARED, "bank") == ("token", "tls_certificate", "tls_key")
    with pytest.raises(CredentialRefused, match="did you mean `text`"):
        connections.fields(DECLARED, "txet")


def test_disconnecting_destroys_the_secret(connections: Connections, store: Store):
    made = connect(connections)
    assert connections.disconnect("acme", "pay", "default") == (made, Revoked.NOT_OFFERED)
    assert store.connections.all() == ()
    assert store.sealed.get(made) == (None, None)
    connect(connections)


def test_disconnecting_what_is_not_there_says_what_is(connections: Connections):
    connect(connections, name="eu")
    with pytest.raises(CredentialRefused, match=r"it has `pay \(eu\)`"):
        connections.disconnect("acme", "pay", "default")
    with pytest.raises(CredentialRefused, match="it has none"):
        connections.disconnect("globex", "pay", "default")
