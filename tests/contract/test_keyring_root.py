"""The root key in the operating system's keyring: a real Secret Service, without a desktop."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import keyring
import pytest
import secretstorage
from keyring.backend import KeyringBackend
from keyring.backends import SecretService, chainer, fail, null
from support.canaries import may_hold
from support.samples import connection
from support.servers import accepts, program, run_server

from tidegate.app import Home, services
from tidegate.app.vaulting import rotate_root
from tidegate.domain.secret import Secret
from tidegate.store import Store
from tidegate.vault import RootKeyring, RootRefused, Vault, open_root

ONE = connection(id="con_one", name="one")
pytestmark = [
    # The library leaves its connections to the bus to be collected.
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"
    ),
]


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """Collect those connections here, or a later test is blamed for them."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@dataclass(frozen=True)
class Desktop:
    """A session's keyring, and how a process finds it."""

    environment: dict[str, str]

    def collection(self) -> secretstorage.Collection:
        return secretstorage.get_default_collection(secretstorage.dbus_init())


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desktop]:
    folder = tmp_path_factory.mktemp("session")
    folder.chmod(0o700)
    bus = folder / "bus"
    environment = {
        "DBUS_SESSION_BUS_ADDRESS": f"unix:path={bus}",
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder / "data"),
        "XDG_RUNTIME_DIR": str(folder),
    }
    env = {**os.environ, **environment}
    passphrase = folder / "passphrase"
    passphrase.write_text("open sesame")
    daemon = program("dbus-daemon", package="dbus-daemon")
    keeper = program("gnome-keyring-daemon", package="gnome-keyring")
    serve = f'exec "{keeper}" --foreground --unlock --components=secrets < "{passphrase}"'
    with (
        run_server(
            [daemon, "--session", "--nofork", f"--address=unix:path={bus}"],
            folder=folder, ready=accepts(bus), env=env,
        ),
        pytest.MonkeyPatch.context() as patch,
    ):  # fmt: skip
        for name, value in environment.items():
            patch.setenv(name, value)
        with run_server(["sh", "-c", serve], folder=folder, ready=_has_secrets, env=env):
            yield Desktop(environment)


def _has_secrets() -> bool:
    return secretstorage.check_service_availability(secretstorage.dbus_init())


@pytest.fixture
def desktop(session: Desktop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desktop]:
    for name, value in session.environment.items():
        monkeypatch.setenv(name, value)
    before = keyring.get_keyring()
    keyring.set_keyring(SecretService.Keyring())
    yield session
    keyring.set_keyring(before)
    for item in list(session.collection().get_all_items()):
        item.delete()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    data = tmp_path / "data"
    file = tmp_path / "keys" / "root.key"
    return Home(data, file, f"sqlite:///{data}/tidegate.db", root_from="keyring")


def test_a_key_is_made_there_once_and_opens_the_store_from_then_on(desktop: Desktop, home: Home):
    with services(home) as state:
        assert state.make_root_key() is None
        state.vault.seal(ONE, {"token": Secret("kept")})
    (item,) = desktop.collection().get_all_items()
    key = item.get_secret()
    assert len(key) == 64
    assert key not in (home.data / "tidegate.db").read_bytes()
    assert not home.root_key.exists()
    with services(home) as again:
        assert again.vault.open(ONE)["token"].reveal() == b"kept"
    (item,) = desktop.collection().get_all_items()
    assert item.get_secret() == key


def test_another_process_of_the_session_opens_it_too(desktop: Desktop, home: Home):
    with services(home) as state:
        state.vault.seal(ONE, {"token": Secret("kept")})
    environment = {
        **os.environ,
        "TIDEGATE_HOME": str(home.data),
        "TIDEGATE_ROOT_KEY_FROM": "keyring",
    }
    command = [sys.executable, "-m", "tidegate.cli", "vault", "status"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "keyring" in done.stdout + done.stderr


def test_a_key_that_is_gone_is_told_and_none_is_made_in_its_place(desktop: Desktop, home: Home):
    with services(home) as state:
        state.vault.seal(ONE, {"token": Secret("kept")})
    (item,) = desktop.collection().get_all_items()
    item.delete()
    with services(home) as state, pytest.raises(RootRefused, match="has no entry `root`"):
        _ = state.vault
    assert list(desktop.collection().get_all_items()) == []


def test_another_key_in_its_place_does_not_start(desktop: Desktop, home: Home):
    with services(home) as state:
        state.vault.seal(ONE, {"token": Secret("kept")})
    keyring.set_password("tidegate", "root", "0" * 64)
    with services(home) as state, pytest.raises(RootRefused, match="not the one that sealed"):
        _ = state.vault
    keyring.set_password("tidegate", "root", "no key")
    with services(home) as state, pytest.raises(RootRefused, match="is not a root key") as refused:
        _ = state.vault
    assert "no key" not in str(refused.value)


def test_from_a_file_into_the_keyring_and_on_to_another_entry(desktop: Desktop, home: Home):
    filed = Home(home.data, home.root_key, home.store_url)
    with services(filed) as state:
        state.make_root_key()
        state.vault.seal(ONE, {"token": Secret("kept")})
        done = rotate_root(state, "keyring", handover_s=0)
        assert done.settings == "TIDEGATE_ROOT_KEY_FROM=keyring"
    with services(filed) as state, pytest.raises(RootRefused, match="not the one that sealed"):
        _ = state.vault
    with services(home) as state:
        assert state.vault.open(ONE)["token"].reveal() == b"kept"
        assert rotate_root(state, "keyring:second", handover_s=0).number == 3
    may_hold(filed.root_key)
    second = Home(home.data, home.root_key, home.store_url, root_from="keyring:second")
    with services(second) as state:
        assert state.vault.open(ONE)["token"].reveal() == b"kept"


class Plaintext(KeyringBackend):
    """Keeps text in a file, as more than one of the packages to be had does."""

    priority = 9  # pyright: ignore[reportAssignmentType]

    def __init__(self, file: Path) -> None:
        self.file = file

    def get_password(self, service: str, username: str) -> str | None:
        return self.file.read_text() if self.file.exists() else None

    def set_password(self, service: str, username: str, password: str) -> None:
        self.file.write_text(password)

    def delete_password(self, service: str, username: str) -> None:
        self.file.unlink()


def chained(*others: KeyringBackend) -> KeyringBackend:
    class Chain(chainer.ChainerBackend):
        backends = others  # pyright: ignore[reportAssignmentType]

    Chain.__module__ = chainer.__name__
    return Chain()


@pytest.mark.parametrize(
    "backend",
    [
        lambda _: null.Keyring(),
        lambda _: fail.Keyring(),
        Plaintext,
        lambda file: chained(SecretService.Keyring(), Plaintext(file)),
        lambda _: chained(),
    ],
    ids=["null", "fail", "plaintext", "one of several in plaintext", "none at all"],
)
def test_a_keyring_that_does_not_encrypt_is_refused_and_gets_no_key(
    sqlite_store: Store, home: Home, tmp_path: Path, backend: Callable[[Path], KeyringBackend]
):
    file = tmp_path / "keyring.cfg"
    before = keyring.get_keyring()
    keyring.set_keyring(backend(file))
    try:
        with pytest.raises(RootRefused, match="keep the root key in a file"):
            open_root(RootKeyring(), sqlite_store)
        with services(home) as state, pytest.raises(RootRefused):
            _ = state.vault
    finally:
        keyring.set_keyring(before)
    assert not file.exists()
    assert Vault.is_new(sqlite_store)
