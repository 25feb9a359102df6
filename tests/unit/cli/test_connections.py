"""`connect`, `connections` and `disconnect`."""

from __future__ import annotations

import json
import os
import pty
import sys
from pathlib import Path

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
