"""Killed at any moment of a rotation, it is seen through, and the provider has no key too many."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.rotating import connect
from support.rotating_process import declaration_of

from tidegate.credentials import Rotator
from tidegate.domain.rotation import RotationState
from tidegate.domain.secret import Secret
from tidegate.engine import Engine, EngineConfig
from tidegate.sandbox import KeyServer
from tidegate.store import Store
from tidegate.vault import RootFile, Vault, open_root

KILLS = int(os.environ.get("TIDEGATE_KILLS", "6"))
RECOVERY_S = 10


@pytest.mark.timeout(60 + KILLS * 12)
def test_killed_at_any_moment_no_key_is_left_over(tmp_path: Path, root_file: Path):
    url = f"sqlite:///{tmp_path}/data/tidegate.db"
    folder = Path(__file__).parents[1]
    with KeyServer() as server, Store.open(url) as store:
        vault = Vault(store, open_root(RootFile(root_file), store))
        connect(vault, server, "default", server.make("by hand").value)
        connect(vault, server, "admin", server.manager)
        ca = tmp_path / "ca.pem"
        ca.write_text(server.ca_pem)
        words = [url, str(root_file), server.origin, str(ca)]
        killed_in: set[RotationState] = set()
        for _ in range(KILLS):
            with subprocess.Popen(
                [sys.executable, "-m", "support.rotating_process", *words],
                cwd=folder,
                env=os.environ | {"PYTHONPATH": f"{folder}:{folder.parent / 'src'}"},
                stdout=subprocess.PIPE,
                text=True,
            ) as process:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
                time.sleep(secrets.randbelow(600) / 1_000)
                process.kill()
            killed_in |= {row.state for row in store.rotations.active()}
            connection = store.connections.get("con_default")
            assert connection is not None
            carried = vault.open(connection)["token"].reveal().decode()
            assert carried in {key.value for key in server.alive()}
        assert killed_in
        config = EngineConfig(spool=tmp_path / "spool", workers=1, record=False)
        with Engine(config, Secret(os.urandom(32))) as engine:
            rotator = Rotator(store, vault, engine, holder="the same")
            declaration = declaration_of(server.origin, server.ca_pem)
            began = time.monotonic()
            while row := store.rotations.active_for("con_default"):
                rotator.advance(row.id, declaration)
                assert time.monotonic() - began < RECOVERY_S, row
                time.sleep(0.01)
        connection = store.connections.get("con_default")
        assert connection is not None
        (alive,) = server.alive()
        assert vault.open(connection)["token"].reveal().decode() == alive.value
        assert store.sealed.versions(connection.id) == (connection.version,)
        assert {row.state for row in store.rotations.all()} <= {
            RotationState.DONE,
            RotationState.ROLLED_BACK,
        }
