"""`gateway.shared`: the store at which gateways count together, and what is wrong with one."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.canaries import may_hold

from tidegate.app import Home
from tidegate.app.startup import engine_config
from tidegate.catalog import ConfigErrors, Settings, load_settings
from tidegate.engine import EngineError


def settings(folder: Path, shared: str) -> Settings:
    (folder / "tidegate.yaml").write_text(f"version: 1\ngateway:\n  shared: {shared}\n")
    return load_settings(folder / "tidegate.yaml")


def test_a_store_is_reached_as_its_address_says(tmp_path: Path):
    (tmp_path / "ca.pem").write_text("-")
    far = settings(tmp_path, "{valkey: 'rediss://valkey.internal', nodes: 4, ca: ca.pem}").shared
    assert far is not None
    assert (far.host, far.port, far.tls, far.nodes) == ("valkey.internal", 6379, True, 4)
    near = settings(tmp_path, "{valkey: 'unix:///run/valkey/s', nodes: 2}").shared
    assert near is not None
    assert near.socket == "/run/valkey/s"
    here = settings(tmp_path, "{valkey: 'redis://127.0.0.1:7000', nodes: 2}")
    assert here.shared is not None
    assert (here.shared.port, here.weaknesses()) == (7000, [])


def test_a_store_without_tls_is_shown_as_weak(tmp_path: Path):
    weak = settings(tmp_path, "{valkey: 'redis://valkey.internal', nodes: 4, plain: true}")
    assert [weakness.where for weakness in weak.weaknesses()] == ["gateway.shared"]


@pytest.mark.parametrize(
    ("shared", "said"),
    [
        ("{valkey: 'redis://valkey.internal', nodes: 4}", "without TLS"),
        ("{valkey: 'rediss://u:p@valkey.internal', nodes: 4}", "does not stand in the address"),
        ("{valkey: 'https://valkey.internal', nodes: 4}", "no address of a store"),
        ("{valkey: 'unix://run/valkey', nodes: 4}", "whole path"),
        ("{valkey: 'rediss://valkey:99999', nodes: 4}", "no address of a store"),
        ("{valkey: 'unix:///run/s', nodes: 0}", "greater than or equal to 1"),
        ("{valkey: 'unix:///run/s'}", "nodes"),
        ("{valkey: 'unix:///run/s', nodes: 2, cache: 1KiB}", "1MiB at least"),
        ("{valkey: 'unix:///run/s', nodes: 2, ca: ca.pem}", "`ca` is for TLS"),
        ("{valkey: 'unix:///run/s', nodes: 2, user: me}", "a user has a password"),
        ("{valkey: 'unix:///run/s', nodes: 2, password: {}}", "a password is in one place"),
        ("{valkey: 'unix:///run/s', nodes: 2, password: {file: gone}}", "this file is not there"),
        ("{valkey: 'unix:///run/s', nodes: 2, pasword: {env: X}}", "pasword"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, shared: str, said: str):
    with pytest.raises(ConfigErrors) as wrong:
        settings(tmp_path, shared)
    told = str(wrong.value)
    assert said in told
    assert all(error.line == 3 for error in wrong.value.errors)


def test_a_password_is_taken_from_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    home = Home(tmp_path / "home", tmp_path / "root.key", "sqlite://")
    may_hold(tmp_path / "password").write_text("not-a-real-password\n")
    found = settings(tmp_path, "{valkey: 'unix:///s', nodes: 2, password: {file: password}}")
    shared = engine_config(found, home).shared
    assert shared is not None
    assert shared.password is not None
    assert shared.password.reveal() == b"not-a-real-password"
    found = settings(tmp_path, "{valkey: 'unix:///s', nodes: 2, password: {env: STORE_WORD}}")
    monkeypatch.delenv("STORE_WORD", raising=False)
    with pytest.raises(EngineError, match="STORE_WORD"):
        engine_config(found, home)
