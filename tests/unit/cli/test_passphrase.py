"""The root key from a passphrase: a person is asked, twice when it is new, and never by standard input."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
import sys

import pytest

from tidegate.vault import Vault

from .terminals import until

WORDS = ["token", "create", "shop", "--client", "acme"]
ASKED = b"root key (not shown): "
AGAIN = b"as it is new: "
PASSPHRASE = b"four words of mine"


@pytest.fixture
def by_passphrase(applied, monkeypatch: pytest.MonkeyPatch, state) -> None:
    """An installation in which nothing is sealed yet, whose key is a person's."""
    monkeypatch.setenv("TIDEGATE_ROOT_KEY_FROM", "passphrase")
    assert not state.home.root_key.exists()


def converse(*answers: tuple[bytes, bytes]) -> tuple[int, bytes]:
    """Answer what the command asks, and return how it ended and all that the terminal showed."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-m", "tidegate.cli", *WORDS])
    seen = b""
    for question, answer in answers:
        seen += until(terminal, question)
        os.write(terminal, answer + b"\n")
    # Linux says EIO when the other end of a terminal is closed.
    with contextlib.suppress(OSError):
        while more := os.read(terminal, 4096):
            seen += more
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), seen


@pytest.mark.usefixtures("by_passphrase")
def test_a_person_is_asked_and_no_file_is_made(state):
    code, seen = converse((ASKED, PASSPHRASE), (AGAIN, PASSPHRASE))
    assert code == 0, seen
    assert re.search(rb"tdg_\w+", seen)
    code, seen = converse((ASKED, PASSPHRASE))
    assert code == 0, seen
    assert AGAIN not in seen
    assert PASSPHRASE not in seen
    assert not state.home.root_key.exists()


@pytest.mark.usefixtures("by_passphrase")
def test_a_slip_in_a_new_passphrase_does_nothing(state):
    code, seen = converse((ASKED, PASSPHRASE), (AGAIN, PASSPHRASE + b"x"))
    assert (code, b"not the same twice" in seen) == (1, True)
    assert Vault.is_new(state.store)


@pytest.mark.usefixtures("by_passphrase")
def test_another_passphrase_opens_nothing():
    converse((ASKED, PASSPHRASE), (AGAIN, PASSPHRASE))
    code, seen = converse((ASKED, b"other words of mine"))
    assert (code, b"not the one" in seen) == (1, True)


@pytest.mark.usefixtures("by_passphrase")
def test_without_a_terminal_it_says_so_and_does_not_read_standard_input():
    ended = subprocess.run(
        [sys.executable, "-m", "tidegate.cli", *WORDS],
        input=PASSPHRASE,
        capture_output=True,
        start_new_session=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert b"no terminal to ask at" in ended.stderr


def test_a_source_that_there_is_not_is_refused(applied, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TIDEGATE_ROOT_KEY_FROM", "thin air")
    assert "is none of `file`, `passphrase`" in applied("connections").err
