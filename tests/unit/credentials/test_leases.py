from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from support.samples import NOON, connection

from tidegate.credentials import Leases
from tidegate.credentials.leases import LEASE
from tidegate.domain.secret import Secret
from tidegate.engine.errors import EngineError
from tidegate.store import Store, StoreUnavailable
from tidegate.store.schema import connections
from tidegate.vault import RootFile, Vault, open_root


@dataclass
class Holder:
    """Holds leases as the engine does, and refuses the connections it is told to."""

    held: dict[str, tuple[int, tuple[str, ...], dict[str, bytes], datetime]] = field(
        default_factory=dict
    )
    refuse: set[str] = field(default_factory=set)

    def lease(
        self,
        connection: str,
        version: int,
        origins: Sequence[str],
        fields: Mapping[str, Secret],
        until: datetime,
        *,
        serial: int = 0,
    ) -> None:
        if connection in self.refuse:
            raise EngineError("the certificate does not parse")
        revealed = {name: secret.reveal() for name, secret in fields.items()}
        self.held[connection] = (version, tuple(origins), revealed, until)

    def release(self, connection: str, *, ended: bool = False) -> None:
        del self.held[connection]


ONE = connection(id="con_one", name="one")
TWO = connection(id="con_two", name="two")


@pytest.fixture
def engine() -> Holder:
    return Holder()


@pytest.fixture
def leases(store: Store, vault: Vault, engine: Holder) -> Leases:
    for made in (ONE, TWO):
        vault.seal(made, {"token": Secret(f"of {made.id}")})
    return Leases(store, vault, engine)


def test_every_connection_is_leased_for_an_hour_and_its_origins(leases: Leases, engine: Holder):
    renewal = leases.renew(NOON)
    assert renewal.leased == (ONE, TWO)
    assert engine.held["con_one"] == (
        1,
        ONE.origins,
        {"token": b"of con_one"},
        NOON + timedelta(hours=1),
    )


def test_nothing_is_opened_until_half_of_the_time_is_over(
    leases: Leases, engine: Holder, vault: Vault, monkeypatch: pytest.MonkeyPatch
):
    leases.renew(NOON)
    with monkeypatch.context() as patched:
        patched.delattr(vault.__class__, "open")
        assert leases.renew(NOON + LEASE / 2 - timedelta(seconds=1)).leased == ()
    half = NOON + LEASE / 2
    assert leases.renew(half).leased == (ONE, TWO)
    assert engine.held["con_two"][3] == half + LEASE


def test_a_changed_connection_is_leased_anew_and_alone(
    leases: Leases, engine: Holder, vault: Vault
):
    leases.renew(NOON)
    changed = connection(id="con_one", name="one", version=2)
    vault.seal(changed, {"token": Secret("new")})
    assert leases.renew(NOON).leased == (changed,)
    assert engine.held["con_one"][:3] == (2, ONE.origins, {"token": b"new"})


def test_a_removed_connection_is_released(leases: Leases, engine: Holder, vault: Vault):
    leases.renew(NOON)
    vault.forget(ONE)
    renewal = leases.renew(NOON)
    assert renewal.released == ("con_one",)
    assert list(engine.held) == ["con_two"]
    assert leases.renew(NOON).released == ()


def test_what_does_not_open_is_released_and_disturbs_no_other(
    leases: Leases, engine: Holder, store: Store
):
    leases.renew(NOON)
    with store._database.writing() as database:
        statement = connections.update().where(connections.c.id == "con_one")
        database.execute(statement.values(origins=("https://evil.test",), version=1))
    later = NOON + LEASE
    renewal = leases.renew(later)
    assert [one.id for one in renewal.leased] == ["con_two"]
    ((refused, reason),) = renewal.refused
    assert refused.id == "con_one"
    assert "does not open" in reason
    assert list(engine.held) == ["con_two"]


def test_what_the_engine_refuses_disturbs_no_other(leases: Leases, engine: Holder):
    engine.refuse.add("con_one")
    renewal = leases.renew(NOON)
    assert renewal.leased == (TWO,)
    assert renewal.refused == ((ONE, "the certificate does not parse"),)
    engine.refuse.clear()
    assert leases.renew(NOON).leased == (ONE,)


def test_leases_stay_while_the_store_is_away(
    tmp_path: Path, root_file: Path, sqlite_store: Store, engine: Holder
):
    vault = Vault(sqlite_store, open_root(RootFile(root_file), sqlite_store))
    vault.seal(ONE, {"token": Secret("x")})
    leases = Leases(sqlite_store, vault, engine)
    leases.renew(NOON)
    file = sqlite_store._database.file
    assert file is not None
    sqlite_store.close()
    for path in list(file.parent.iterdir()):
        path.rename(path.with_suffix(path.suffix + ".away"))
    file.mkdir()
    with pytest.raises(StoreUnavailable):
        leases.renew(NOON + LEASE / 2)
    assert list(engine.held) == ["con_one"]
