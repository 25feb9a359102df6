"""A store with sealed rows that an older Tidegate wrote is taken over when it is opened.

The older one kept no manifest and recorded its one root key among the vault's values. What it wrote
is made here as it made it, at its revision of the schema.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from support.samples import connection

from tidegate.domain.connection import Connection
from tidegate.domain.secret import Secret
from tidegate.store import Store
from tidegate.store.database import Database
from tidegate.store.migrate import upgrade
from tidegate.store.schema import connections, issued_tokens, sealed_credentials
from tidegate.vault import RootFile, Vault, VaultRefused, open_root
from tidegate.vault.envelope import Envelope, frame, new_key

OLDER = "0004"
MAIL = connection(id="con_mail", client="acme", name="mail", version=3)
CRM = connection(
    id="con_crm", client="acme", provider="crm", name="crm", scheme="oauth2 https://crm.example.com/token",
    fields=("client_id", "client_secret", "refresh_token"),
)  # fmt: skip
THEIRS = connection(id="con_theirs", client="globex")
CRM_FIELDS = {"client_id": "us", "client_secret": "s3cret-crm-1", "refresh_token": "rt-canary-crm"}
TOKEN = {"access_token": "at-canary-crm", "refresh_token": "rt-canary-crm"}


def written_by_an_older_one(url: str, root_file: Path) -> None:
    root = Envelope(Secret(bytes.fromhex(root_file.read_text())))
    database = Database(url)
    with database.migrating() as older:
        upgrade(older, OLDER)
        values = {
            "key-check": root.seal(Secret(b"this root key is the one"), "key-check"),
            "token-key": root.seal(Secret(b"t" * 32), "token-key"),
        }
        for name, value in values.items():
            statement = sa.text("INSERT INTO vault_values (name, value) VALUES (:name, :value)")
            older.execute(statement, {"name": name, "value": value})
        keks = {client: new_key() for client in ("acme", "globex")}
        for client, kek in keks.items():
            statement = sa.text(
                "INSERT INTO keks (client, version, wrapped) VALUES (:client, 1, :wrapped)"
            )
            wrapped = root.seal(kek, "kek", client, 1)
            older.execute(statement, {"client": client, "wrapped": wrapped})
        for one, fields in (
            (MAIL, {"token": "of the mail, the third"}),
            (CRM, CRM_FIELDS),
            (THEIRS, {"token": "of somebody else"}),
        ):
            row = {column.name: getattr(one, column.name) for column in connections.columns}
            older.execute(connections.insert().values(row))
            bound = (*identity(one), 1)
            older.execute(
                sealed_credentials.insert().values(
                    connection=one.id,
                    version=one.version,
                    **sealed(keks[one.client], "", bound, fields),
                )
            )
        now = datetime.now(UTC)
        token = sealed(keks["acme"], "issued ", (*identity(CRM), 1, 7), TOKEN)
        older.execute(
            issued_tokens.insert().values(
                connection=CRM.id, version=1, serial=7, issued_at=now, fence=7, failures=0, ended=False,
                expires_at=now + timedelta(hours=1), **token,
            )
        )  # fmt: skip
    database.close()


def sealed(
    kek: Secret, kind: str, bound: tuple[str | int | bytes, ...], fields: dict[str, str]
) -> dict[str, object]:
    dek = new_key()
    parts = [part for name in sorted(fields) for part in (name, fields[name])]
    return {
        "kek_version": 1,
        "wrapped_dek": Envelope(kek).seal(dek, f"{kind}dek", *bound),
        "payload": Envelope(dek).seal(Secret(frame(*parts)), f"{kind}payload", *bound),
    }


def identity(one: Connection) -> tuple[str | int | bytes, ...]:
    return (
        one.client, one.provider, one.name, one.id, one.version, one.scheme,
        hashlib.sha256(frame(*one.origins)).digest(), hashlib.sha256(frame(*one.fields)).digest(),
    )  # fmt: skip


def opened(url: str, root_file: Path) -> tuple[Store, Vault]:
    store = Store.open(url)
    return store, Vault(store, open_root(RootFile(root_file), store))


def revealed(fields: dict[str, Secret]) -> dict[str, str]:
    return {name: secret.reveal().decode() for name, secret in fields.items()}


@pytest.mark.parametrize("starts", [1, 2])
def test_everything_opens_and_has_a_manifest_from_then_on(
    store_url: str, root_file: Path, starts: int
):
    written_by_an_older_one(store_url, root_file)
    for _ in range(starts):
        store, vault = opened(store_url, root_file)
        with store:
            assert revealed(vault.open(MAIL)) == {"token": "of the mail, the third"}
            assert revealed(vault.open(CRM)) == CRM_FIELDS
            assert revealed(vault.open(THEIRS)) == {"token": "of somebody else"}
            token = store.issued.get(CRM.id)
            assert token is not None
            assert token.sealed is not None
            assert revealed(vault.open_issued(CRM, token.serial, token.sealed)) == TOKEN
            assert vault.token_key().reveal() == b"t" * 32
            for client, entries in (("acme", {"con_mail", "con_crm"}), ("globex", {"con_theirs"})):
                manifest = vault.manifests.read(client, store.sealed.manifest(client))
                assert set(manifest.entries) == entries


def test_from_then_on_a_row_or_a_manifest_that_is_missing_is_noticed(
    store_url: str, root_file: Path
):
    written_by_an_older_one(store_url, root_file)
    store, vault = opened(store_url, root_file)
    with store:
        with store._database.reading() as database:
            statement = sa.select(sealed_credentials).where(
                sealed_credentials.c.connection == MAIL.id
            )
            before = dict(database.execute(statement).mappings().one())
        vault.rotate_client("acme")
        with store._database.writing() as database:
            mine = sealed_credentials.c.connection == MAIL.id
            database.execute(sealed_credentials.update().where(mine).values(before))
    store, vault = opened(store_url, root_file)
    with store:
        with pytest.raises(VaultRefused):
            vault.open(MAIL)
        assert revealed(vault.open(CRM)) == CRM_FIELDS
        with store._database.writing() as database:
            database.execute(sa.text("DELETE FROM manifests WHERE client = 'globex'"))
    store, vault = opened(store_url, root_file)
    with store, pytest.raises(VaultRefused, match=r"manifest of .*client.* is missing"):
        # It is not begun anew: that would sign whatever stands there.
        vault.open(THEIRS)


def test_it_can_be_looked_after_like_any_other(store_url: str, root_file: Path):
    written_by_an_older_one(store_url, root_file)
    store, vault = opened(store_url, root_file)
    with store:
        assert vault.rotate_client("acme").version == 2
        assert store.sealed.kek("acme", 1) is None
        assert revealed(vault.open(CRM)) == CRM_FIELDS
        assert vault.shred("globex") == 1


@pytest.mark.parametrize("table", ["manifests", "vault_epoch", "suspect_grants"])
def test_killed_while_it_is_migrated_it_is_as_it_was(store_url: str, root_file: Path, table: str):
    from tidegate.store.migrate import migrate

    written_by_an_older_one(store_url, root_file)
    database = Database(store_url)

    def stop_halfway(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if f"CREATE TABLE {table}" in statement:
            raise KeyboardInterrupt

    sa.event.listen(database._engine, "before_cursor_execute", stop_halfway)
    with pytest.raises(KeyboardInterrupt):
        migrate(database)
    database.close()
    store, vault = opened(store_url, root_file)
    with store:
        assert revealed(vault.open(MAIL)) == {"token": "of the mail, the third"}
