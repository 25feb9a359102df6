"""`token create`, `list` and `revoke`."""

from __future__ import annotations

import json
import stat
from pathlib import Path

from tidegate.credentials import check_format


def test_only_the_token_goes_to_standard_output_and_it_is_shown_this_once(applied):
    ended = applied("token", "create", "shop", "--client", "acme", "--days", "7")
    text = ended.out.strip()
    assert check_format(text)
    assert text not in ended.err
    for command in (["list"], ["list", "--json"]):
        listed = applied("token", *command)
        assert text not in listed.out + listed.err
    (kept,) = json.loads(applied("token", "list", "--json").out)
    assert (kept["consumer"], kept["client"], kept["providers"]) == ("shop", "acme", [])


def test_the_first_token_makes_a_private_root_key_and_says_where(applied, environment: Path):
    key = environment.parent / "keys" / "root.key"
    assert str(key) in applied("token", "create", "shop").err
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert key.read_text().strip() not in applied("token", "create", "shop").err


def test_a_token_can_be_for_some_providers_and_come_as_json(applied):
    ended = applied(
        "token", "create", "shop", "--provider", "mail", "--provider", "ledger", "--json"
    )
    made = json.loads(ended.out)
    assert check_format(made["token"])
    assert made["providers"] == ["ledger", "mail"]


def test_what_is_not_declared_or_too_long_is_refused(applied):
    assert "did you mean `shop`?" in applied("token", "create", "shp").err
    assert "at most 90 days" in applied("token", "create", "shop", "--days", "91").err
    assert applied("token", "create", "shop", "--days", "91", "--allow-long").code == 0


def test_a_revoked_token_is_listed_as_such(applied):
    made = json.loads(applied("token", "create", "shop", "--json").out)
    assert applied("token", "revoke", made["id"]).out == f"revoked {made['id']}\n"
    assert "revoked" in applied("token", "list").out
    assert applied("token", "revoke", "tok_0000").code == 1


def test_a_token_in_place_of_its_id_is_not_repeated(applied):
    text = applied("token", "create", "shop").out.strip()
    ended = applied("token", "revoke", text)
    assert ended.code == 1
    assert text not in ended.out + ended.err
