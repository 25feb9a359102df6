"""One process that sees rotations through, one after another, until it is killed.

`python -m support.rotating_process STORE ROOT_FILE ORIGIN CA_FILE`: it says `ready`, then the id of
each rotation that is over.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from support.renewing import say
from support.rotating import MANY, provider_of
from tidegate.credentials import Rotator
from tidegate.domain.declaration import Client, Declaration
from tidegate.domain.secret import Secret
from tidegate.engine import Engine, EngineConfig
from tidegate.store import Store
from tidegate.vault import RootFile, Vault, open_root


def declaration_of(origin: str, ca_pem: str) -> Declaration:
    server = cast("Any", SimpleNamespace(origin=origin, ca_pem=ca_pem))
    provider = provider_of(server, replace(MANY, overlap_ms=1, propagation_ms=1_000))
    brief = replace(provider.deadlines, connect_ms=50, first_byte_ms=50, total_ms=50)
    return Declaration(clients=(Client("acme"),), providers=(replace(provider, deadlines=brief),))


def main() -> None:
    url, root_file, origin, ca_file = sys.argv[1:]
    declaration = declaration_of(origin, Path(ca_file).read_text())
    with (
        tempfile.TemporaryDirectory() as folder,
        Store.open(url) as store,
        Engine(
            EngineConfig(spool=Path(folder) / "spool", workers=1, record=False),
            Secret(os.urandom(32)),
        ) as engine,
    ):
        vault = Vault(store, open_root(RootFile(Path(root_file)), store))
        rotator = Rotator(store, vault, engine, holder="the same")
        say("ready")
        while True:
            row = store.rotations.active_for("con_default")
            if row is None:
                connection = store.connections.get("con_default")
                assert connection is not None
                row = rotator.start(declaration, connection, author="test")
            after = rotator.advance(row.id, declaration)
            if after is not None and after.active is None:
                say(f"{after.id} {after.state.value}")
            time.sleep(0.005)


if __name__ == "__main__":
    main()
