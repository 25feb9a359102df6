"""What a process that connects leaves for others of the machine to see."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.samples import NOON, declaration

from tidegate.store import Store
from tidegate.vault import RootFile, Vault, open_root

CANARY = b"canary-7f3e91-secret-of-a-provider"


@pytest.fixture
def home(tmp_path: Path, root_file: Path) -> dict[str, str]:
    """The environment of an installation with a declaration in force."""
    with Store.open(f"sqlite:///{tmp_path}/data/tidegate.db") as store:
        store.revisions.append(declaration(), author="test", note="", at=NOON)
    places = {"TIDEGATE_HOME": f"{tmp_path}/data", "TIDEGATE_ROOT_KEY_FILE": str(root_file)}
    return os.environ | places


def test_a_connecting_process_shows_no_secret(home: dict[str, str], root_file: Path):
    connecting = subprocess.Popen(
        [sys.executable, "-m", "tidegate.cli", "connect", "pay", "--client", "acme"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=home,
    )
    assert connecting.stdin is not None
    # It has the secret, and waits for the end of it.
    connecting.stdin.write(CANARY + b"\n")
    connecting.stdin.flush()
    process = Path(f"/proc/{connecting.pid}")
    shown = [(process / name).read_bytes() for name in ("cmdline", "environ")]
    output, _ = connecting.communicate()
    assert connecting.returncode == 0, output.decode()

    data = Path(home["TIDEGATE_HOME"])
    with Store.open(f"sqlite:///{data}/tidegate.db") as store:
        vault = Vault(store, open_root(RootFile(root_file), store))
        (made,) = store.connections.all()
        assert vault.open(made)["token"].reveal() == CANARY
        stored = [path.read_bytes() for path in data.rglob("*") if path.is_file()]
    assert not any(CANARY in place for place in [*shown, output, *stored])
