"""Say how the vault fares: keys, what is left to re-wrap, manifests, the anchor."""

from __future__ import annotations

from dataclasses import dataclass

from tidegate.store import Store
from tidegate.vault.errors import VaultRefused
from tidegate.vault.manifest import entry_of
from tidegate.vault.vault import Vault


@dataclass(frozen=True, slots=True)
class ClientStatus:
    """One client's keys and seals. `pending`: connections still under an older key."""

    client: str
    kek_versions: tuple[int, ...]
    connections: int
    pending: int
    trouble: str | None


@dataclass(frozen=True, slots=True)
class VaultStatus:
    """The whole. `pending_keks`: clients' keys that an older root still wraps."""

    root: int
    source: str
    replacing: bool
    pending_keks: int
    credentials: int
    issued_tokens: int
    epoch: int
    locked: str | None
    clients: tuple[ClientStatus, ...]


def status(vault: Vault, store: Store) -> VaultStatus:
    """Look at everything, and change nothing."""
    roots = store.sealed.roots()
    number = roots[-1].number
    keks = store.sealed.keks()
    credentials, tokens = store.sealed.count()
    names = {client for client, _, _ in keks} | {one.client for one in store.connections.all()}
    return VaultStatus(
        root=number,
        source=roots[-1].source,
        replacing=len(roots) > 1,
        pending_keks=sum(root != number for _, _, root in keks),
        credentials=credentials,
        issued_tokens=tokens,
        epoch=store.sealed.epoch()[0],
        locked=None if vault.locked is None else str(vault.locked),
        clients=tuple(_client(vault, store, name, keks) for name in sorted(names)),
    )


def _client(
    vault: Vault, store: Store, client: str, keks: list[tuple[str, int, int]]
) -> ClientStatus:
    versions = tuple(version for name, version, _ in keks if name == client)
    rows = store.sealed.rows(client)
    newest = max(versions, default=0)
    sealed = [one for row in rows for one in (row.credential, row.issued) if one is not None]
    trouble: str | None = None
    try:
        manifest = vault.manifests.read(client, store.sealed.manifest(client))
        wrong = [
            row.connection.name
            for row in rows
            if manifest.entries.get(row.connection.id) != entry_of(row)
        ]
        if wrong:
            trouble = f"not the newest: {', '.join(sorted(wrong))}"
    except (VaultRefused, OverflowError) as refused:
        trouble = str(refused)
    return ClientStatus(
        client,
        versions,
        len(rows),
        sum(one.kek_version < newest for one in sealed),
        trouble,
    )
