"""`connect`, `connections` and `disconnect`."""

from __future__ import annotations

import json
import os
import pty
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tidegate.domain.secret import Secret

from .terminals import until

SECRET = "lk_7Qm2Zt9wXb4"


def test_a_secret_on_standard_input_is_sealed_and_shown_nowhere(applied, process, state):
    ended = process("connect", "ledger", "--client", "acme", given=f"{SECRET}\n".encode())
    assert ended.code == 0
    assert "Its credential is sealed" in ended.out
    assert SECRET not in ended.out + ended.err
    (made,) = state.store.connections.all()
    assert state.vault.open(made)["token"].reveal() == SECRET.encode()
    listed = applied("connections")
    assert SECRET not in listed.out
    assert "https://api.ledger.test" in listed.out


def test_variables_and_several_fields_make_a_named_connection(applied, process):
    words = ("connect", "mail", "--client", "globex", "--name", "eu-2", "--var", "region=eu")
    ended = process(*words, given=b"username=u\npassword=p\n")
    assert ended.code == 0
    (made,) = json.loads(applied("connections", "--json").out)
    assert (made["name"], made["origins"], made["fields"]) == (
        "eu-2",
        ["https://eu.mail.test"],
        ["username", "password"],
    )


def test_a_second_time_makes_the_next_version(applied, process):
    for version in (1, 2):
        ended = process("connect", "ledger", "--client", "acme", given=SECRET.encode())
        assert f"version {version}" in ended.out


def test_a_secret_can_come_from_a_file(applied, tmp_path: Path):
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")
    assert applied("connect", "ledger", "--client", "acme", "--from-file", str(file)).code == 0


def test_without_terminal_and_input_it_says_what_to_do(applied, process):
    ended = process("connect", "ledger", "--client", "acme")
    assert ended.code == 1
    assert "error: standard input holds no secret" in ended.err


def test_what_is_not_declared_is_refused_before_a_secret_is_asked_for(applied, process):
    assert "No provider `leger` is declared" in process("connect", "leger", "--client", "acme").err
    assert "No client `acne`" in process("connect", "ledger", "--client", "acne", given=b"x").err
    ended = process("connect", "mail", "--client", "acme", given=b"username=u\npassword=p\n")
    assert ended.code == 1
    assert "region" in ended.err


def test_var_takes_a_name_and_a_value(applied):
    ended = applied("connect", "mail", "--client", "acme", "--var", "eu")
    assert "`--var` takes NAME=VALUE" in ended.err


def test_a_disconnected_account_is_gone(applied, process):
    process("connect", "ledger", "--client", "acme", given=SECRET.encode())
    assert applied("disconnect", "ledger", "--client", "acme").code == 0
    assert json.loads(applied("connections", "--json").out) == []
    assert applied("disconnect", "ledger", "--client", "acme").code == 1


def test_a_person_is_asked_for_each_field_and_sees_nothing_of_the_answer(applied, state):
    words = ["connect", "mail", "--client", "acme", "--var", "region=eu"]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-m", "tidegate.cli", *words])
    seen = b""
    for field in (b"username", b"password"):
        seen += until(terminal, field + b" (not shown): ")
        os.write(terminal, SECRET.encode() + b"\n")
    seen += until(terminal, b"sealed")
    assert os.waitpid(pid, 0)[1] == 0
    os.close(terminal)
    assert SECRET.encode() not in seen
    (made,) = state.store.connections.all()
    assert state.vault.open(made)["password"].reveal() == SECRET.encode()


CRM = """
  crm:
    origin: https://api.crm.test
    auth: {oauth2: {grant: refresh_token, token_url: "https://id.crm.test/token"}}
    operations: [GET /v1/contacts]
grants:
"""


def test_a_connection_that_is_issued_tokens_says_how_they_fare(
    environment: Path, tidegate, process, state
):
    file = environment / "tidegate.yaml"
    file.write_text(file.read_text().replace("\ngrants:\n", CRM))
    assert tidegate("apply").code == 0
    fields = f"client_id=us\nclient_secret={SECRET}\nrefresh_token=rt-{SECRET}\n".encode()
    ended = process("connect", "crm", "--client", "acme", given=fields)
    assert "leaves only for https://id.crm.test/token" in ended.out
    (made,) = state.store.connections.all()

    def token() -> str:
        (told,) = json.loads(process("connections", "--json").out)
        return told["token"]

    assert token() == "not asked for yet"
    now = datetime.now(UTC)
    later = now + timedelta(hours=1)
    fence = state.store.issued.take(made, 0, holder="test", now=now, until=later)
    token_1 = {"access_token": Secret("at-1")}
    assert state.vault.keep_issued(made, fence, 1, token_1, issued_at=now, expires_at=later)
    assert token().startswith("until ")
    fence = state.store.issued.take(made, 1, holder="test", now=now, until=later)
    state.store.issued.give_up(
        made.id, fence, trouble="invalid_grant", retry_at=None, answered=True, ended=True
    )
    assert token() == "needs reconsent (invalid_grant)"
    assert "needs reconsent" in process("connections").out
    assert process("disconnect", "crm", "--client", "acme").code == 0
    assert state.store.issued.all() == {}
