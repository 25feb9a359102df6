"""Fixtures that more than one area uses. Servers start when the first test asks for them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# `support` is imported by this name everywhere in the tests, and `bench` has trials that they share.
sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from hypothesis import settings
from support.agreeing import tamper_with
from support.postgresql import PostgreSQL, postgresql_cluster

from tidegate.store import Store
from tidegate.vault import RootFile, Vault, create_root_file, open_root

# Two shared cores make single examples slow now and then; the whole run has its own limit.
settings.register_profile("tidegate", deadline=None)
settings.load_profile("tidegate")

pytest_plugins = ["support.canary_scan"]


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A running PostgreSQL; one per test process."""
    with postgresql_cluster() as cluster, cluster.running():
        yield cluster


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database on each of the two engines."""
    if request.param == "postgresql":
        return request.getfixturevalue("postgresql").new_database()
    return f"sqlite:///{tmp_path}/data/tidegate.db"


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """A store on each of the two engines."""
    with Store.open(store_url) as opened:
        yield opened


@pytest.fixture(params=["sqlite", "postgresql"])
def acts_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A store without acts on each of the two engines; of PostgreSQL's there is one for all tests."""
    if request.param == "sqlite":
        with Store.open(f"sqlite:///{tmp_path}/data/tidegate.db") as opened:
            yield opened
        return
    opened = request.getfixturevalue("postgresql_store")
    tamper_with(opened, "DELETE FROM acts", "DELETE FROM acts_head")
    yield opened


@pytest.fixture(scope="session")
def postgresql_store(postgresql: PostgreSQL) -> Iterator[Store]:
    """For tests that put back what they change."""
    with Store.open(postgresql.new_database()) as opened:
        yield opened


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[Store]:
    """A store for tests that do not care where it is kept."""
    with Store.open(f"sqlite:///{tmp_path}/data/tidegate.db") as opened:
        yield opened


@pytest.fixture
def root_file(tmp_path: Path) -> Path:
    """A root key in a folder apart from the data."""
    path = tmp_path / "keys" / "root.key"
    create_root_file(path)
    return path


@pytest.fixture
def vault(store: Store, root_file: Path) -> Vault:
    """The vault of `store`."""
    return Vault(store, open_root(RootFile(root_file), store))
