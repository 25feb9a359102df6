"""A difference names the place, and says nothing exactly when nothing differs."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from support.declared import DECLARATION, SHOPIFY, STRIPE

from tidegate.domain.attach import AttachBasic, AttachHeader, AttachQuery
from tidegate.domain.declaration import (
    Client,
    Consumer,
    Declaration,
    Denial,
    Grant,
    TlsPolicy,
)
from tidegate.domain.operation import Operation
from tidegate.snapshot import Change, ChangeKind, changes


def with_stripe(**changed: object) -> Declaration:
    return replace(DECLARATION, providers=(replace(STRIPE, **changed), SHOPIFY))  # type: ignore[arg-type]


def test_first_declaration_is_all_added():
    found = changes(None, DECLARATION)
    assert {change.kind for change in found} == {ChangeKind.ADDED}
    assert (
        Change("providers.stripe", ChangeKind.ADDED, after="https://api.stripe.test, 3 operations")
        in found
    )


def test_removed_client_says_what_it_was():
    old = replace(DECLARATION, clients=(*DECLARATION.clients, Client("old", "Old Ltd", "eu")))
    assert changes(old, DECLARATION) == [
        Change("clients.old", ChangeKind.REMOVED, before="Old Ltd, eu")
    ]


def test_nested_setting_is_named_by_its_whole_path():
    assert changes(DECLARATION, with_stripe(tls=TlsPolicy(min_version="1.3"))) == [
        Change("providers.stripe.tls.min_version", ChangeKind.CHANGED, "1.2", "1.3")
    ]


def test_operations_are_told_one_by_one():
    operations = (
        replace(STRIPE.operations[0], deprecated=True),
        STRIPE.operations[1],
        Operation("PostPayouts", "POST", "/v1/payouts"),
    )
    assert changes(DECLARATION, with_stripe(operations=operations)) == [
        Change("providers.stripe.operations.PostRefunds", ChangeKind.REMOVED, "POST /v1/refunds"),
        Change(
            "providers.stripe.operations.GetCharges.deprecated", ChangeKind.CHANGED, "no", "yes"
        ),
        Change(
            "providers.stripe.operations.PostPayouts", ChangeKind.ADDED, after="POST /v1/payouts"
        ),
    ]


def test_grant_is_known_by_whom_it_joins_and_not_by_its_place():
    wider = Grant("shop", "stripe", ("GetCharges*", "PostRefunds"), name="grants[0]")
    assert changes(DECLARATION, replace(DECLARATION, grants=(wider,))) == [
        Change(
            "grants.shop → stripe.operations",
            ChangeKind.CHANGED,
            "GetCharges*",
            "GetCharges*, PostRefunds",
        )
    ]


def test_certificate_is_shown_by_its_digest():
    (change,) = changes(DECLARATION, with_stripe(tls=TlsPolicy(ca_pem="-----BEGIN\nMII\n")))
    assert change.before == "none"
    assert change.after == "sha256:62b4f6a280944478"


def test_attach_names_fields_and_no_value():
    attach = (AttachBasic(username_field="key", password="x"), AttachQuery("sig", "signature"))
    (change,) = changes(DECLARATION, with_stripe(attach=attach))
    assert change.before == "header Authorization: Bearer <token>"
    assert change.after == "basic <key>:x, query sig: <signature>"


def test_new_order_is_a_change_too():
    moved = replace(DECLARATION, clients=DECLARATION.clients[::-1])
    assert changes(DECLARATION, moved) == [
        Change("clients (order)", ChangeKind.CHANGED, "acme, globex", "globex, acme")
    ]


_names = st.sampled_from(["a", "b", "c"])
_declarations = st.builds(
    Declaration,
    clients=st.lists(st.builds(Client, _names, _names), max_size=3).map(tuple),
    consumers=st.lists(st.builds(Consumer, _names, st.tuples(_names)), max_size=2).map(tuple),
    providers=st.lists(
        st.builds(
            replace,
            st.sampled_from([STRIPE, SHOPIFY]),
            attach=st.sampled_from([(), (AttachHeader("A", "token"),)]),
            headers=st.lists(st.tuples(_names, _names), max_size=1).map(tuple),
        ),
        max_size=2,
    ).map(tuple),
    grants=st.lists(
        st.builds(Grant, _names, _names, st.tuples(_names), name=_names), max_size=3
    ).map(tuple),
    denials=st.lists(
        st.builds(Denial, _names, st.tuples(_names), st.sampled_from(["", "x"])), max_size=2
    ).map(tuple),
)


@given(_declarations, _declarations)
def test_nothing_changes_exactly_when_the_declarations_are_equal(
    old: Declaration, new: Declaration
):
    assert (changes(old, new) == []) == (old == new)


@given(_declarations)
def test_a_declaration_does_not_differ_from_itself(declaration: Declaration):
    assert changes(declaration, declaration) == []
