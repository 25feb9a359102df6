"""What of a declaration and the records reaches the engine."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from support.declared import (
    DECLARATION,
    NOW,
    SHOPIFY,
    STRIPE,
    connection,
    token,
)

from tidegate.domain.attach import AttachBasic
from tidegate.domain.connection import AccessToken, Connection
from tidegate.domain.declaration import Client, Consumer, Declaration, Denial, Grant
from tidegate.domain.operation import Operation
from tidegate.snapshot import compile_snapshot
from tidegate.snapshot.compile import EXPIRED_TOKENS_KEPT


def compiled(
    declaration: Declaration = DECLARATION,
    tokens: tuple[AccessToken, ...] = (),
    connections: tuple[Connection, ...] = (),
) -> Any:
    return json.loads(compile_snapshot(declaration, 7, tokens, connections, now=NOW))


def granting(*grants: Grant) -> Declaration:
    return replace(DECLARATION, grants=grants)


def test_order_of_records_does_not_change_a_byte():
    tokens = [token("tok_b"), token("tok_a")]
    connections = [
        connection(),
        connection("shopify", origins=("https://acme.myshopify.test",)),
    ]
    one = compile_snapshot(DECLARATION, 7, tokens, connections, now=NOW)
    other = compile_snapshot(DECLARATION, 7, tokens[::-1], connections[::-1], now=NOW)
    assert one == other


def test_grants_of_equal_selection_share_one_set_however_it_is_written():
    snapshot = compiled(
        granting(
            Grant("shop", "stripe", ("GetCharges", "GetChargesCharge")),
            Grant("shop", "stripe", ("GET /v1/charges*",)),
            Grant("shop", "stripe", ("PostRefunds",)),
        )
    )
    assert [grant["operations"] for grant in snapshot["grants"]] == [0, 0, 1]
    assert snapshot["operation_sets"] == [
        {"provider": "stripe", "operations": [0, 1]},
        {"provider": "stripe", "operations": [2]},
    ]


def test_all_operations_are_written_as_a_word_so_that_a_large_table_costs_nothing():
    snapshot = compiled(granting(Grant("shop", "stripe", ("*",))))
    assert snapshot["operation_sets"] == [{"provider": "stripe", "operations": "all"}]


def test_same_numbers_of_two_providers_are_two_sets():
    snapshot = compiled(granting(Grant("shop", "stripe", ("*",)), Grant("shop", "shopify", ("*",))))
    assert [entry["provider"] for entry in snapshot["operation_sets"]] == ["stripe", "shopify"]


def test_denials_use_the_same_sets_and_carry_their_reason():
    denial = Denial("stripe", ("GetCharges*",), "by hand only", clients=("acme",), name="deny[0]")
    snapshot = compiled(replace(DECLARATION, denials=(denial,)))
    assert snapshot["denials"] == [
        {
            "name": "deny[0]",
            "provider": "stripe",
            "operations": snapshot["grants"][0]["operations"],
            "consumers": [],
            "clients": ["acme"],
            "reason": "by hand only",
        }
    ]


def test_report_mode_ends_with_the_first_second_of_the_day_in_utc():
    grant = Grant("shop", "stripe", ("*",), mode="report", enforce_from=date(2026, 9, 1))
    assert compiled(granting(grant))["grants"][0]["enforce_from"] == 1788220800


@pytest.mark.parametrize(
    "changed",
    [
        {"revoked_at": NOW - timedelta(seconds=1)},
        {"expires_at": NOW - EXPIRED_TOKENS_KEPT},
        {"consumer": "gone"},
        {"client": "gone"},
        {"providers": ("gone",)},
    ],
    ids=["revoked", "long expired", "consumer gone", "client gone", "all of its providers gone"],
)
def test_token_that_counts_no_more_is_left_out(changed: dict[str, object]):
    assert compiled(tokens=(token(**changed),))["tokens"] == []


def test_expired_token_stays_known_for_a_while_so_that_its_refusal_can_say_so():
    (kept,) = compiled(tokens=(token(expires_at=NOW),))["tokens"]
    assert kept["expires"] == int(NOW.timestamp())


def test_token_keeps_those_of_its_providers_that_still_exist():
    snapshot = compiled(tokens=(token(providers=("gone", "stripe")),))
    assert snapshot["tokens"][0]["providers"] == ["stripe"]


@pytest.mark.parametrize(
    "changed",
    [
        {"client": "gone"},
        {"provider": "gone"},
        {"origins": ("https://api.elsewhere.test",)},
        {"origins": ("https://api.stripe.test", "https://files.stripe.test")},
    ],
    ids=["client gone", "provider gone", "provider moved", "number of origins changed"],
)
def test_connection_that_no_longer_fits_is_left_out(changed: dict[str, object]):
    assert compiled(connections=(connection(**changed),))["connections"] == []


def test_basic_names_only_the_halves_that_are_fields():
    provider = replace(STRIPE, attach=(AttachBasic(username_field="key", password="x"),))
    snapshot = compiled(replace(DECLARATION, providers=(provider, SHOPIFY)))
    assert snapshot["providers"][0]["attach"] == [
        {"kind": "basic", "username_field": "key", "username": "", "password": "x"}
    ]


def test_nothing_secret_has_a_place_in_it():
    snapshot = compiled(tokens=(token(),), connections=(connection(),))
    assert snapshot["connections"][0].keys() == {
        "id",
        "client",
        "provider",
        "name",
        "version",
        "origins",
    }


def test_a_thousand_clients_with_ten_connections_and_ten_thousand_grants_compile_whole():
    operations = tuple(
        Operation(f"repos/op-{n}", "GET", f"/repos/{{owner}}/{n}") for n in range(1_100)
    )
    github = replace(STRIPE, name="github", operations=operations)
    clients = tuple(Client(f"client-{n}") for n in range(1_000))
    declaration = Declaration(
        clients=clients,
        consumers=tuple(Consumer(f"app-{n}", (client.name,)) for n, client in enumerate(clients)),
        providers=(github,),
        grants=tuple(
            Grant(f"app-{n % 1_000}", "github", (f"repos/op-{n % 97}*", "GET /repos/*/1*"))
            for n in range(10_000)
        ),
    )
    connections = [
        connection("github", id=f"con_{n}", client=f"client-{n % 1_000}", name=f"account-{n}")
        for n in range(10_000)
    ]
    snapshot = json.loads(compile_snapshot(declaration, 1, (), connections, now=NOW))
    assert len(snapshot["connections"]) == len(snapshot["grants"]) == 10_000
    # 97 pairs of patterns, some of which select the same: each set of operations is written once.
    assert len(snapshot["operation_sets"]) == 87
