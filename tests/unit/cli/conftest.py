"""The command line as its users meet it: in this process for speed, in its own where that matters."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tidegate.app import Home, Services, services
from tidegate.cli import main

SOURCES = Path(__file__).parents[3] / "src"
DECLARATION = """\
version: 1
clients:
  acme: {name: Acme GmbH}
  globex: {}
consumers:
  shop: {clients: [acme, globex]}
providers:
  ledger:
    origin: https://api.ledger.test
    auth: bearer
    operations: [GET /v1/accounts, "GET /v1/accounts/{id}", POST /v1/transfers]
  mail:
    origin: https://{region}.mail.test
    auth: basic
    operations: {Send: POST /send}
grants:
  - {consumer: shop, provider: ledger, operations: ["GET *"]}
"""


@dataclass(frozen=True)
class Ended:
    """What one command came to."""

    code: int
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own to stand in, with a declaration; state and root key beside it."""
    for name in [name for name in os.environ if name.startswith(("TIDEGATE_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TIDEGATE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TIDEGATE_ROOT_KEY_FILE", str(tmp_path / "keys" / "root.key"))
    monkeypatch.setenv("PYTHONPATH", str(SOURCES))
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "tidegate.yaml").write_text(DECLARATION)
    return folder


@pytest.fixture
def tidegate(environment: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process."""

    def run(*words: str) -> Ended:
        code = main(words)
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return run


@pytest.fixture
def process(environment: Path) -> Run:
    """Run a command in a process of its own, without a terminal."""

    def run(*words: str, given: bytes = b"") -> Ended:
        ended = subprocess.run(
            [sys.executable, "-m", "tidegate.cli", *words],
            input=given,
            capture_output=True,
            check=False,
            timeout=115,
        )
        return Ended(ended.returncode, ended.stdout.decode(), ended.stderr.decode())

    return run


@pytest.fixture
def applied(tidegate: Run) -> Run:
    """The same, with the declaration in force."""
    assert tidegate("apply").code == 0
    return tidegate


@pytest.fixture
def state(environment: Path):
    """What the commands work on, opened beside them."""
    opened: Services = services(Home.from_environment())
    with opened:
        yield opened
