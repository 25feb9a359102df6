"""An edit is noticed once it is whole, wherever the declaration is read from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tidegate.app.watching import Watch


@pytest.fixture
def first(tmp_path: Path) -> Path:
    (tmp_path / "teams").mkdir()
    (tmp_path / "teams" / "pay.yaml").write_text(
        "providers:\n  pay: {origin: https://pay.example, auth: bearer, openapi: pay.json}\n"
    )
    (tmp_path / "teams" / "pay.json").write_text("{}")
    file = tmp_path / "tidegate.yaml"
    file.write_text("version: 1\ninclude: [teams/*.yaml]\n")
    return file


def settled(watch: Watch) -> bool:
    """Look twice, as the gateway does: the first look only finds that something moves."""
    return watch.changed() or watch.changed()


def test_nothing_changed_is_nothing_to_read(first: Path):
    watch = Watch(first)
    assert not settled(watch)


def test_file_that_is_being_written_is_left_alone_until_it_is_whole(first: Path):
    watch = Watch(first)
    first.write_text("version: 1\n")
    assert not watch.changed()
    first.write_text("version: 1\nclients: {acme: {}}\n")
    assert not watch.changed()
    assert watch.changed()
    assert not settled(watch)


@pytest.mark.parametrize("name", ["tidegate.yaml", "teams/pay.yaml", "teams/pay.json"])
def test_edit_of_any_part_is_noticed(first: Path, name: str):
    watch = Watch(first)
    with (first.parent / name).open("a") as file:
        file.write("\n")
    assert settled(watch)


def test_folder_stands_for_the_file_in_it(first: Path):
    watch = Watch(first.parent)
    first.write_text("version: 1\n")
    assert settled(watch)


def test_new_file_that_fits_an_include_is_noticed(first: Path):
    watch = Watch(first)
    (first.parent / "teams" / "mail.yaml").write_text("clients: {acme: {}}\n")
    assert settled(watch)
    (first.parent / "teams" / "mail.yaml").write_text("clients: {globex: {}}\n")
    assert settled(watch)


def test_file_that_is_replaced_by_another_is_noticed(first: Path):
    watch = Watch(first)
    other = first.with_suffix(".new")
    other.write_text(first.read_text())
    kept = first.stat()
    os.utime(other, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    other.replace(first)
    assert settled(watch)


def test_included_file_stays_watched_while_the_first_one_is_wrong(first: Path):
    watch = Watch(first)
    first.write_text("version: [\n")
    assert settled(watch)
    (first.parent / "teams" / "pay.yaml").write_text("clients: {acme: {}}\n")
    assert settled(watch)


def test_file_that_goes_and_comes_back_is_noticed_both_times(first: Path):
    watch = Watch(first)
    text = first.read_text()
    first.unlink()
    assert settled(watch)
    first.write_text(text)
    assert settled(watch)
