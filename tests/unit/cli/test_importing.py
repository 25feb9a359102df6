"""`import`: shows names and places, seals what fits, and never shows a value or a part of one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.canaries import may_hold

from tidegate.catalog import presets
from tidegate.catalog.known_variables import known_variables
from tidegate.credentials.fields import wanted_fields

KEY = "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc"
SID = "AC" + "0123456789abcdef" * 2
AUTH = "fedcba9876543210" * 2
SEALED = "fj3kQ9zWm2Lx"
DECLARATION = """\
version: 1
clients: {acme: {}}
consumers: {shop: {clients: [acme]}}
providers:
  pay: {preset: stripe}
  twilio: {preset: twilio}
  bank: {origin: https://api.bank.test, auth: bearer, operations: [GET /x]}
grants: [{consumer: shop, provider: pay, operations: ["*"]}]
"""
SOURCE = f"""\
STRIPE_SECRET_KEY={KEY}
TWILIO_ACCOUNT_SID={SID}
TWILIO_AUTH_TOKEN={AUTH}
BANK_TOKEN={SEALED}
OPENAI_API_KEY=changeme
DD_API_KEY=${{X}}
NOTION_TOKEN={KEY}
GH=ghp_{"0123456789abcdefghijABCDEFGHIJ012345"}
"""


@pytest.fixture
def declared(environment: Path, tidegate):
    (environment / "tidegate.yaml").write_text(DECLARATION)
    assert tidegate("apply").code == 0
    may_hold(environment / ".env").write_text(SOURCE)
    return tidegate


def test_a_dry_run_changes_nothing_and_says_what_would_be(declared):
    ended = declared("import", ".env", "--client", "acme")
    assert ended.code == 0
    assert ended.out.count("would connect") == 3
    assert "github: {preset: github}" in ended.out
    assert "it holds a Stripe key" in ended.out
    assert "it is a placeholder" in ended.out
    assert json.loads(declared("connections", "--json").out) == []


def test_yes_seals_what_fits_and_skips_the_rest(declared, state):
    ended = declared("import", ".env", "--client", "acme", "--yes")
    assert ended.code == 1
    assert "rotate each at its provider" in ended.err
    made = {one.provider: state.vault.open(one) for one in state.store.connections.all()}
    assert set(made) == {"pay", "twilio", "bank"}
    assert made["twilio"]["account_sid"].reveal() == SID.encode()
    assert made["twilio"]["auth_token"].reveal() == AUTH.encode()
    again = json.loads(declared("import", ".env", "--client", "acme", "--yes", "--json").out)
    assert {one["outcome"] for one in again["connections"]} == {"skipped"}
    for secret in (KEY, SID, AUTH, SEALED):
        for start in range(len(secret) - 5):
            assert secret[start : start + 6] not in ended.out + ended.err + json.dumps(again)


def test_two_values_for_one_field_and_a_missing_half_are_not_guessed(declared, environment: Path):
    file = may_hold(environment / "two.env")
    file.write_text(f"STRIPE_KEY={KEY}\nSTRIPE_SECRET_KEY={KEY}9\nTWILIO_ACCOUNT_SID={SID}\n")
    out = declared("import", "two.env", "--client", "acme").out
    assert "hold different values" in out
    assert "The field `auth_token` is missing; it would be called `TWILIO_AUTH_TOKEN`" in out


def test_an_export_is_read_from_a_pipe(declared, process):
    ended = process("import", "-", "--client", "acme", given=f'{{"STRIPE_KEY": "{KEY}"}}'.encode())
    assert ended.code == 0
    assert "would connect Stripe as provider `pay`, from `STRIPE_KEY`" in ended.out


def test_a_mistyped_option_is_told(declared):
    assert declared("import", ".env", "--clent", "acme").code == 1


def test_an_undeclared_client_is_told_what_to_write(declared):
    assert "globex: {}" in declared("import", ".env", "--client", "globex").out


@settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    file=st.sampled_from([".env", "compose.yaml", "export.json"]),
    before=st.text(st.sampled_from("A=\"'$\\#{}[]:,-&*! \n\t"), max_size=30),
    after=st.text(st.sampled_from("A=\"'$\\#{}[]:,-&*! \n\t"), max_size=30),
    name=st.sampled_from(
        ["STRIPE_SECRET_KEY=", "  STRIPE_KEY: ", '{"STRIPE_KEY": "', "- ", "", '"']
    ),
)
def test_no_source_makes_it_show_a_value(
    declared, environment: Path, *, file: str, before: str, after: str, name: str
):
    may_hold(environment / file).write_text(f"{before}{name}{KEY}{after}")
    for more in ((), ("--json",)):
        ended = declared("import", file, "--client", "acme", *more)
        assert "something failed" not in ended.err
        for start in range(8, len(KEY) - 5):
            assert KEY[start : start + 6] not in ended.out + ended.err


def test_what_is_known_fits_the_presets():
    known = known_variables().providers
    # Administrators' keys are under no name of their own; what a person consents to is in no file.
    entered = {
        name
        for name, preset in presets().items()
        if not (preset.provider.token_grant and preset.provider.token_grant.asks_a_person)
    }
    assert entered - {"aws-iam", "gcp-iam"} <= set(known)
    for name, one in known.items():
        assert (name in presets()) == (not one.title)
        if name in presets():
            assert set(one.fields) == set(wanted_fields(presets()[name].provider))
            assert set(one.variables) <= set(presets()[name].provider.variables)
    names = [
        called
        for one in known.values()
        for part in (*one.fields.values(), *one.variables.values())
        for called in part.names
    ]
    assert len(names) == len(set(names))
