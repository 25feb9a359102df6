"""The root key at a service of its own: OpenBao's transit engine and AWS's KMS, each as a real server."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
import pytest
from support.openbao import openbao_server
from support.samples import connection
from support.servers import accepts, free_port, program, run_server

from tidegate.domain.secret import Secret
from tidegate.store import Store
from tidegate.vault import RootRefused, Vault, VaultError, VaultRefused, open_root
from tidegate.vault.root import RootService

HERS = connection(id="con_hers", client="acme")
THEIRS = connection(id="con_theirs", client="globex")
PROGRAMS = [Path(sys.executable).parent]
"""Both servers come as Python packages."""

FIELDS = {"token": Secret("a secret of acme's")}


@pytest.fixture(scope="module")
def openbao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with openbao_server(tmp_path_factory.mktemp("openbao")) as bao:
        bao.ask("POST", "sys/mounts/transit", {"type": "transit"})
        bao.ask("POST", "transit/keys/tidegate", {"derived": True})
        bao.ask("POST", "transit/keys/plain", {})
        yield json.dumps(bao.environment)


@pytest.fixture(scope="module")
def kms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("kms"), free_port()
    command = [
        program("moto_server", package="moto", folders=PROGRAMS),
        "-H",
        "127.0.0.1",
        "-p",
        str(port),
    ]
    url = f"http://127.0.0.1:{port}"
    with run_server(command, folder=folder, ready=accepts(("127.0.0.1", port))):
        session = {
            "AWS_ENDPOINT_URL": url,
            "AWS_REGION": "eu-central-1",
            "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
        }
        client = boto3.client(
            "kms",
            endpoint_url=url,
            region_name="eu-central-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )
        key = client.create_key()["KeyMetadata"]["KeyId"]
        yield json.dumps(session | {"key": key})


@contextmanager
def environment(said: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    values: dict[str, str] = json.loads(said)
    with monkeypatch.context() as patched:
        for name, value in values.items():
            patched.setenv(name, value)
        yield values


def works(store: Store, root: RootService) -> None:
    vault = Vault(store, open_root(root, store))
    vault.seal(HERS, FIELDS)
    vault.seal(THEIRS, {"token": Secret("a secret of globex's")})
    again = Vault(store, open_root(root, store))
    assert again.open(HERS)["token"].matches(FIELDS["token"])
    assert again.rotate_client("acme").connections == 1
    assert again.open(HERS)["token"].matches(FIELDS["token"])
    # What was wrapped for one client does not unwrap for the other.
    wrap = open_root(root, store).wrap
    wrapped = wrap.seal(Secret(b"k" * 32), "kek", "acme", 1)
    assert wrap.open(wrapped, "kek", "acme", 1).matches(Secret(b"k" * 32))
    with pytest.raises(VaultRefused):
        wrap.open(wrapped, "kek", "globex", 1)
    assert open_root(root, store).key is None


def test_openbao_wraps_and_never_shows_the_key(
    sqlite_store: Store, openbao: str, monkeypatch: pytest.MonkeyPatch
):
    with environment(openbao, monkeypatch):
        works(sqlite_store, RootService("openbao:transit/tidegate"))


def test_openbao_is_refused_what_would_not_keep_clients_apart(
    sqlite_store: Store, openbao: str, monkeypatch: pytest.MonkeyPatch
):
    with environment(openbao, monkeypatch):
        for key in ("transit/plain", "transit/none", "tidegate"):
            with pytest.raises(RootRefused):
                open_root(RootService(f"openbao:{key}"), sqlite_store)
        monkeypatch.setenv("BAO_ADDR", "http://bao.example.test:8200")
        with pytest.raises(RootRefused, match="https"):
            open_root(RootService("openbao:transit/tidegate"), sqlite_store)
        monkeypatch.setenv("BAO_ADDR", f"http://127.0.0.1:{free_port()}")
        with pytest.raises(VaultError, match="does not answer"):
            open_root(RootService("openbao:transit/tidegate"), sqlite_store)


def test_kms_wraps_and_never_shows_the_key(
    sqlite_store: Store, kms: str, monkeypatch: pytest.MonkeyPatch
):
    with environment(kms, monkeypatch) as values:
        works(sqlite_store, RootService(f"aws-kms:{values['key']}"))
        with pytest.raises(RootRefused):
            open_root(RootService("aws-kms:alias/none"), sqlite_store)
