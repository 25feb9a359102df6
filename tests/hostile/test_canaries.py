"""The search for leaked secrets finds them, in every encoding, and fails the run."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from support.canaries import search

SECRET = b"tdg_0a/B+c\xc3\xa9 & 9f8e7d6c5b4a39281706f5e4d3c2b1"
PLANTED = {SECRET: "a test"}

LEAKS = {
    "as it is": SECRET,
    "in hexadecimal": SECRET.hex().encode(),
    "in capitals": SECRET.hex().upper().encode(),
    "in base64": base64.b64encode(SECRET),
    "in base64 behind one byte": base64.b64encode(b":" + SECRET + b"!"),
    "in base64 behind a user's name": base64.b64encode(b"me@a.test:" + SECRET),
    "in base64 for URLs": base64.urlsafe_b64encode(b"u:" + SECRET),
    "percent-encoded": quote(SECRET, safe="").encode(),
}


@pytest.mark.parametrize("leak", LEAKS.values(), ids=LEAKS)
def test_a_secret_is_found_in_every_encoding(tmp_path: Path, leak: bytes):
    (tmp_path / "some.db").write_bytes(os.urandom(5000) + leak + b"\0" * 100)
    (hit,) = {hit.file for hit in search([tmp_path], PLANTED)}
    assert hit == tmp_path / "some.db"


def test_any_key_of_random_bytes_is_found(tmp_path: Path):
    keys = [os.urandom(32) for _ in range(200)]
    (tmp_path / "memory").write_bytes(b"".join(keys))
    found = search([tmp_path], {key: str(number) for number, key in enumerate(keys)})
    raw = {hit.planted_by for hit in found if hit.form == "as it is"}
    # A line of a key that has many line ends in it can be too short to mean anything.
    assert len(raw) > 190


def test_what_only_resembles_a_secret_is_not_taken_for_it(tmp_path: Path):
    (tmp_path / "log").write_bytes(SECRET[:-1] + b"\n" + SECRET[1:])
    assert search([tmp_path], PLANTED) == []


LEAKY = """
from tidegate.domain.secret import Secret

def test_writes(tmp_path):
    (tmp_path / "spool").write_text("x" + Secret("canary-that-is-written").reveal().decode())

def test_prints():
    print(Secret("canary-that-is-printed").reveal().hex())

def test_keeps_still():
    Secret("canary-that-is-kept")
"""


@pytest.mark.parametrize("workers", [(), ("-n", "2", "-p", "xdist")], ids=["alone", "in workers"])
def test_a_run_that_leaves_a_secret_behind_fails(tmp_path: Path, workers: tuple[str, ...]):
    (tmp_path / "test_leaky.py").write_text(LEAKY)
    ended = _pytest(tmp_path, *workers)
    assert ended.returncode == 1, ended.stdout
    assert "3 passed" in ended.stdout
    told = [line for line in ended.stdout.splitlines() if "a secret of" in line]
    assert sorted(line.partition("a secret of ")[2] for line in told) == [
        "`test_leaky.py::test_prints`, in hexadecimal",
        "`test_leaky.py::test_writes`, as it is",
    ]
    assert "canary-that" not in ended.stdout


def test_a_run_that_leaves_none_behind_succeeds(tmp_path: Path):
    (tmp_path / "test_tight.py").write_text(LEAKY.partition("def test_writes")[0] + _KEEPING)
    ended = _pytest(tmp_path)
    assert ended.returncode == 0, ended.stdout
    assert "none of 1 secrets was left behind" in ended.stdout


_KEEPING = """
from support.canaries import may_hold

def test_input_file(tmp_path):
    secret = Secret("canary-of-an-input-file").reveal()
    may_hold(tmp_path / "key-to-connect").write_bytes(secret)
    (tmp_path / "root.key").write_bytes(secret)
"""


def _pytest(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    # A session of its own: nothing of what it plants is planted in this one.
    environment = {n: v for n, v in os.environ.items() if not n.startswith("PYTEST_")}
    return subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "-p",
                "support.canary_scan",
                "-p",
                "no:randomly",
            ),
            *(f"--basetemp={folder / 'left'}", "--rootdir=.", *options, "."),
        ],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
