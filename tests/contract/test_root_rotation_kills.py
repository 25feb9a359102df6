"""Killed at any moment while the root key is replaced, all opens, and the replacement goes on."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.canaries import may_hold
from support.samples import connection

from tidegate.app import Home, services
from tidegate.app.vaulting import rotate_root
from tidegate.domain.secret import Secret
from tidegate.vault import RootFile, RootRefused, Vault, open_root

KILLS = int(os.environ.get("TIDEGATE_KILLS", "4"))
MANY = [connection(id=f"con_{n}", client=f"client-{n}") for n in range(40)]


@pytest.mark.timeout(60 + KILLS * 30)
def test_killed_at_any_moment_every_client_opens_and_the_next_run_goes_on(
    tmp_path: Path, store_url: str
):
    home = Home(tmp_path / "data", tmp_path / "keys" / "root.key", store_url)
    folder = Path(__file__).parents[1]
    with services(home) as state:
        state.make_root_key()
        for one in MANY:
            state.vault.seal(one, {"token": Secret(f"the secret of {one.client}")})
    for _ in range(KILLS):
        with subprocess.Popen(
            [
                *(sys.executable, "-m", "support.root_rotating_process"),
                *(str(home.data), str(home.root_key), store_url),
            ],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": f"{folder}:{folder.parent / 'src'}"},
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(secrets.randbelow(400) / 1_000)
            process.kill()
        # Whichever key is where: what was sealed opens.
        with services(home) as state:
            for one in MANY:
                opened = state.vault.open(one)["token"].reveal().decode()
                assert opened == f"the secret of {one.client}"
            assert len(state.store.sealed.roots()) in {1, 2}
    with services(home) as state:
        done = rotate_root(state, None, handover_s=0)
        (root,) = state.store.sealed.roots()
        assert (root.number, root.handover, root.handback) == (done.number, None, None)
        assert {number for _, _, number in state.store.sealed.keks()} == {root.number}
        # Older keys, which are kept beside the file, open nothing any more.
        for older in home.root_key.parent.glob("root.key.*"):
            may_hold(older)
            with pytest.raises(RootRefused):
                Vault(state.store, open_root(RootFile(older), state.store))
