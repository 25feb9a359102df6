"""What the trials have in common: a store with its vault, and a provider on loopback as it is declared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tidegate.app import load_declaration
from tidegate.credentials import Connections
from tidegate.domain.declaration import Declaration
from tidegate.domain.secret import Secret
from tidegate.sandbox import LoopbackServer
from tidegate.store import Store
from tidegate.vault import RootFile, Vault, create_root_file, open_root

_DECLARED: Final = """
version: 1
gateway: {{listen: [{{bind: "127.0.0.1:0"}}]}}
clients: {{acme: {{}}}}
consumers: {{app: {{clients: [acme]}}}}
providers:
  api:
    origin: {origin}
    allow_private: [127.0.0.0/8]
    tls: {{ca: {ca}}}
    operations: ["GET /things"]
{more}grants:
  - {{consumer: app, provider: api, operations: ["*"]}}
"""

ISSUES_TOKENS: Final = """\
    auth: {{oauth2: {{grant: refresh_token, token_url: "{origin}/token"}}}}
"""
HAS_KEYS: Final = """\
    auth: bearer
    deadlines: {{connect: 50ms, first_byte: 50ms, total: 50ms}}
    rotation:
      overlap_class: A
      by: admin
      overlap: 1ms
      propagation: 1s
      create: {{call: POST /keys, body: {{name: "{{name}}"}}, id: /id, fields: {{token: /key}}}}
      keys: {{call: GET /keys, items: /keys, id: /id, name: /name, last_used: /last_used}}
      delete: {{call: "DELETE /keys/{{id}}"}}
      test: {{call: GET /things}}
      identify: {{call: GET /self, id: /id}}
"""


@dataclass(frozen=True, slots=True)
class Scene:
    """Where everything is; processes of their own find it by these words."""

    store_url: str
    root_key: Path
    declared: Path

    @property
    def words(self) -> tuple[str, str, str]:
        return self.store_url, str(self.root_key), str(self.declared)

    @contextmanager
    def opened(self) -> Iterator[tuple[Store, Vault]]:
        with Store.open(self.store_url) as store:
            yield store, Vault(store, open_root(RootFile(self.root_key), store))

    def declaration(self) -> Declaration:
        return load_declaration(self.declared)


def declared(folder: Path, server: LoopbackServer, more: str) -> str:
    """Declare the one provider, `api`; the authority that vouches for it is put into the folder."""
    (folder / "ca.pem").write_text(server.ca_pem)
    return _DECLARED.replace("{more}", more).format(origin=server.origin, ca=folder / "ca.pem")


def make(folder: Path, store_url: str, server: LoopbackServer, more: str) -> Scene:
    """Make an empty store, its root key, and the declaration of the one provider."""
    root_key, file = folder / "keys" / "root.key", folder / "tidegate.yaml"
    create_root_file(root_key)
    file.write_text(declared(folder, server, more))
    return Scene(store_url, root_key, file)


def connect(scene: Scene, store: Store, vault: Vault, name: str, fields: Mapping[str, str]) -> None:
    """Enter an account of client `acme`, anew where there is one."""
    sealed = {field: Secret(value) for field, value in fields.items()}
    Connections(store, vault).connect(scene.declaration(), "api", "acme", name, sealed, {})
