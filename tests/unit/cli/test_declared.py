"""`check`, `providers`, `operations`, `presets` and `schema`."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema

MISTAKES = """\
version: 1
clients:
  acme: {nme: Acme}
consumers:
  shop: {clients: [acmee]}
providers:
  ledger: {origin: https://api.ledger.test, auth: bearer, operations: [GET /accounts]}
grants:
  - {consumer: shop, provider: ledger, operations: [GET /acounts]}
"""
TOLD = """\
tidegate.yaml:3:10: there is no key `nme` here
    3 |   acme: {nme: Acme}
      |          ^
      = did you mean `name`?
tidegate.yaml:5:20: there is no client `acmee`
    5 |   shop: {clients: [acmee]}
      |                    ^
      = did you mean `acme`?
tidegate.yaml:9:53: `GET /acounts` matches no operation of provider `ledger`
    9 |   - {consumer: shop, provider: ledger, operations: [GET /acounts]}
      |                                                     ^
      = did you mean `GET /accounts`?
3 errors in 1 file
"""


def test_all_mistakes_are_shown_at_once_where_they_stand(tidegate, environment: Path):
    (environment / "tidegate.yaml").write_text(MISTAKES)
    ended = tidegate("check")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == TOLD


def test_mistakes_come_as_json_where_a_script_asks(tidegate, environment: Path):
    (environment / "tidegate.yaml").write_text(MISTAKES)
    ended = tidegate("check", "--json")
    told = json.loads(ended.out)
    assert (ended.code, told["ok"]) == (1, False)
    assert [(error["line"], error["column"]) for error in told["errors"]][:2] == [(3, 10), (5, 20)]


def test_every_command_that_reads_a_wrong_declaration_shows_its_mistakes(
    tidegate, environment: Path
):
    (environment / "tidegate.yaml").write_text(MISTAKES)
    for command in ("plan", "apply", "providers"):
        ended = tidegate(command)
        assert (ended.code, ended.err) == (1, TOLD)


def test_a_line_that_may_hold_a_secret_is_not_shown(tidegate, environment: Path):
    secret = "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc"
    text = MISTAKES.replace("{nme: Acme}", f"{{nme: {secret}}}")
    (environment / "tidegate.yaml").write_text(text)
    ended = tidegate("check")
    assert "tidegate.yaml:3:10" in ended.err
    assert secret not in ended.err


def test_a_line_cannot_steer_the_terminal(tidegate, environment: Path):
    text = MISTAKES.replace("nme: Acme", 'nme: "A\N{RIGHT-TO-LEFT OVERRIDE}c"')
    (environment / "tidegate.yaml").write_text(text)
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in tidegate("check").err


def test_a_sound_declaration_is_counted_and_its_weaknesses_named(tidegate, environment: Path):
    ended = tidegate("check")
    counts = "2 clients, 1 consumer, 2 providers (4 operations), 1 grant"
    assert (ended.code, ended.out) == (0, f"ok  {counts}\n")
    file = environment / "tidegate.yaml"
    file.write_text(
        file.read_text().replace("auth: bearer", "auth: bearer\n    allow_private: [127.0.0.0/8]")
    )
    assert "weak  providers.ledger.allow_private" in tidegate("check", ".").out
    (weakness,) = json.loads(tidegate("check", str(file), "--json").out)["weaknesses"]
    assert weakness["where"] == "providers.ledger.allow_private"


def test_operations_are_listed_as_grants_name_them(tidegate):
    assert tidegate("operations", "ledger").out.splitlines()[1].startswith("GET /v1/accounts ")
    found = json.loads(tidegate("operations", "ledger", "--grep", "TRANS", "--json").out)
    assert [one["id"] for one in found] == ["POST /v1/transfers"]
    assert tidegate("operations", "ledger", "--grep", "nothing").code == 1


def test_a_preset_need_not_be_declared_to_look_at_its_operations(tidegate, environment: Path):
    assert "GetCharges" in tidegate("operations", "stripe").out
    (environment / "tidegate.yaml").unlink()
    assert "GetCharges" in tidegate("operations", "stripe").out


def test_without_a_file_the_revision_in_force_is_listed(applied, environment: Path):
    (environment / "tidegate.yaml").unlink()
    assert [one["name"] for one in json.loads(applied("providers", "--json").out)] == [
        "ledger",
        "mail",
    ]


def test_the_schema_takes_what_check_takes(tidegate):
    import yaml

    schema = json.loads(tidegate("schema").out)
    text = Path("tidegate.yaml").read_text()
    jsonschema.validate(yaml.safe_load(text), schema)


def test_presets_are_listed(tidegate):
    known = json.loads(tidegate("presets", "--json").out)
    assert {"stripe", "github", "shopify"} <= {preset["name"] for preset in known}
    assert "Shopify" in tidegate("presets").out


def test_what_is_checked_is_listed_beside_the_operations(tidegate, environment: Path):
    file = environment / "checked.yaml"
    file.write_text(
        "version: 1\nclients: {acme: {}}\nconsumers: {shop: {clients: [acme]}}\n"
        "providers: {api: {origin: https://api.test, auth: none, operations: [GET /a, GET /b],\n"
        "  answers: {operations: {GET /a: {html: escape}}}}}\n"
        "grants: [{consumer: shop, provider: api, operations: ['*']}]\n"
    )
    lines = tidegate("operations", "api", str(file)).out.splitlines()
    assert "rules for answers" in lines[1]
    assert " no" in lines[2]
    found = json.loads(tidegate("operations", "api", str(file), "--json").out)
    assert [one["checked"] for one in found] == ["rules for answers", None]
