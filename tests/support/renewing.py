"""One process that renews a token from many threads at once: `python -m support.renewing …`.

It says `ready`, waits for a line, renews, and prints what came of it, one line of JSON a trial.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tidegate.credentials import Refresher
from tidegate.domain.declaration import Provider, TlsPolicy
from tidegate.domain.oauth import TokenGrant
from tidegate.domain.secret import Secret
from tidegate.engine import Engine, EngineConfig
from tidegate.store import Store
from tidegate.vault import RootFile, Vault, open_root


def provider_of(token_url: str, ca_pem: str) -> Provider:
    return Provider(
        name="crm",
        title="CRM",
        origins=("https://api.crm.test",),
        attach=(),
        operations=(),
        allow_private=("127.0.0.0/8",),
        tls=TlsPolicy(ca_pem=ca_pem),
        token_grant=TokenGrant("refresh_token", token_url),
    )


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    url, root_file, token_url, ca_file, threads = sys.argv[1:]
    provider = provider_of(token_url, Path(ca_file).read_text())
    with (
        tempfile.TemporaryDirectory() as folder,
        Store.open(url) as store,
        Engine(
            EngineConfig(spool=Path(folder) / "spool", workers=1, record=False),
            Secret(os.urandom(32)),
        ) as engine,
        ThreadPoolExecutor(int(threads)) as pool,
    ):
        vault = Vault(store, open_root(RootFile(Path(root_file)), store))
        refresher = Refresher(store, vault, engine, holder=f"process {os.getpid()}")
        say("ready")
        for _ in sys.stdin:
            (connection,) = store.connections.all()
            together = threading.Barrier(int(threads))

            def renew(_: int, connection=connection, together=together):
                together.wait()
                renewed = refresher.renew(connection, provider)
                token = renewed.token
                return [token.serial if token else 0, renewed.asked, renewed.trouble]

            say(json.dumps(list(pool.map(renew, range(int(threads))))))


if __name__ == "__main__":
    main()
