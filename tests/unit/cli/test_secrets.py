"""Where a secret may come from, and what a mistake with one says."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from tidegate.cli.outcome import Refusal
from tidegate.cli.secrets import SECRET_BYTES_MAX, read_credential

SECRET = "sk_live_0d1e2f3a4b5c"


def revealed(fields: list[str], files: list[str]) -> dict[str, bytes]:
    return {name: secret.reveal() for name, secret in read_credential(fields, files).items()}


@pytest.fixture
def standard_input(monkeypatch: pytest.MonkeyPatch):
    def give(content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    return give


def test_one_field_is_read_as_it_stands_but_for_the_last_line_end(standard_input):
    standard_input(b"  a=b c\r\n")
    assert revealed(["token"], []) == {"token": b"  a=b c"}


def test_a_secret_of_several_lines_keeps_its_inner_line_ends(standard_input):
    standard_input(b"-----BEGIN KEY-----\nMII\n-----END KEY-----\n")
    assert revealed(["key"], []) == {"key": b"-----BEGIN KEY-----\nMII\n-----END KEY-----"}


@pytest.mark.parametrize(
    "content",
    [
        b"username=AC12\npassword=p=w d\n",
        b"\nusername = AC12\r\npassword=p=w d",
        json.dumps({"username": "AC12", "password": "p=w d"}).encode(),
    ],
)
def test_several_fields_come_as_lines_or_json(standard_input, content: bytes):
    standard_input(content)
    assert revealed(["username", "password"], []) == {"username": b"AC12", "password": b"p=w d"}


def test_a_file_can_hold_all_fields_or_one(tmp_path: Path):
    (tmp_path / "all").write_text("username=AC12\npassword=x\n")
    (tmp_path / "key").write_text("two\nlines\n")
    assert revealed(["username", "password"], [str(tmp_path / "all")])["username"] == b"AC12"
    one_each = [f"username={tmp_path / 'key'}", f"password={tmp_path / 'key'}"]
    assert revealed(["username", "password"], one_each)["password"] == b"two\nlines"


@pytest.mark.parametrize(
    ("content", "fields"),
    [
        (b"", ["token"]),
        (b"\n \n", ["token"]),
        (SECRET.encode(), ["username", "password"]),
        (f"username=a\n{SECRET}=b".encode(), ["username", "password"]),
        (f"username=a\npassword=b\n{SECRET}=c".encode(), ["username", "password"]),
        (f'{{"username": "{SECRET}'.encode(), ["username", "password"]),
        (f'{{"username": "a", "password": ["{SECRET}"]}}'.encode(), ["username", "password"]),
        (f'{{"username": "{SECRET}"}}'.encode(), ["username", "password"]),
        (SECRET.encode() * SECRET_BYTES_MAX, ["token"]),
    ],
)
def test_what_is_no_credential_is_refused_without_repeating_it(standard_input, content, fields):
    standard_input(content)
    with pytest.raises(Refusal) as refused:
        read_credential(fields, [])
    assert SECRET not in str(refused.value) + refused.value.hint


def test_the_largest_credential_is_taken(standard_input):
    standard_input(b"x" * SECRET_BYTES_MAX)
    assert len(read_credential(["token"], [])["token"]) == SECRET_BYTES_MAX


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path):
    with pytest.raises(Refusal, match=r"no-such-file.*No such file"):
        read_credential(["token"], [str(tmp_path / "no-such-file")])
