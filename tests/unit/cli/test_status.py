"""`status`: what the running gateway says of itself."""

from __future__ import annotations

import json
import os
from pathlib import Path

import httpx
import pytest
from support.gate import CREDENTIAL, origin
from support.running import running
from support.up import DECLARED

from tidegate.cli import main


def test_without_a_gateway_it_says_so(tidegate):
    ended = tidegate("status")
    assert ended.code == 1
    assert "no gateway runs on" in ended.err
    assert "`tidegate up` starts one" in ended.err


def test_it_tells_where_the_gateway_listens_and_what_it_carried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("TIDEGATE_HOME", str(tmp_path / "data"))
    keys = {("echo", "acme"): {"token": CREDENTIAL}}
    with (
        origin() as provider,
        running(tmp_path, DECLARED.format(origin=provider.url, settings=""), keys) as gateway,
    ):
        headers = {"Tidegate-Token": gateway.token("shop")}
        call = httpx.get(f"{gateway.url}/echo/things/1", headers=headers, trust_env=False)
        assert call.status_code == 200
        # The gateway of this process logs here, too.
        capsys.readouterr()
        assert main(["status", "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["ready"], told["revision"], told["process"]) == (True, 1, os.getpid())
        assert told["calls"] >= 1
        assert f"http://{told['addresses']['http-0']}" == gateway.url
        assert main(["status"]) == 0
        shown = capsys.readouterr().out
        assert "ready  revision 1" in shown
        assert gateway.url in shown
    assert main(["status"]) == 1
