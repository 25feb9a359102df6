"""Where state is kept, and that the root key is not beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidegate.app import Home


def test_default_places_keep_the_key_apart_from_the_data():
    home = Home.from_environment({})
    assert home.data == Path.home() / ".local/share/tidegate"
    assert home.root_key == Path.home() / ".config/tidegate/root.key"
    assert home.store_url == f"sqlite:///{home.data}/tidegate.db"
    assert home.spool == home.data / "spool"


def test_each_place_can_be_moved(tmp_path: Path):
    home = Home.from_environment(
        {
            "TIDEGATE_HOME": str(tmp_path / "data"),
            "TIDEGATE_ROOT_KEY_FILE": str(tmp_path / "keys" / "root"),
            "TIDEGATE_STORE": "postgresql://db.test/tidegate",
        }
    )
    assert home.data == tmp_path / "data"
    assert home.root_key == tmp_path / "keys" / "root"
    assert home.store_url == "postgresql://db.test/tidegate"


def test_base_directories_of_the_desktop_are_followed_when_absolute(tmp_path: Path):
    home = Home.from_environment({"XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": "relative"})
    assert home.data == tmp_path / "tidegate"
    assert home.root_key == Path.home() / ".config/tidegate/root.key"


@pytest.mark.parametrize("folder", ["data", "spool"])
def test_folders_are_for_this_user_alone(tmp_path: Path, folder: str):
    home = Home.from_environment({"TIDEGATE_HOME": str(tmp_path / "data")})
    home.prepare()
    assert getattr(home, folder).stat().st_mode & 0o777 == 0o700
