"""A hook runs code: it is named in full, says what it adds, and is shown as what it is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tidegate.catalog import ConfigErrors, load, weaknesses
from tidegate.domain.hook import Signed, SigningCall
from tidegate.domain.secret import Secret

EXAMPLE = Path(__file__).parents[3] / "examples" / "hooks"

MISTAKES = {
    "{hook: sign, fields: [key], headers: [X-Sig]}": (
        "names no function",
        "package.module:function",
    ),
    '{hook: "os:system; x", fields: [key], headers: [X-Sig]}': ("names no function", ""),
    '{hook: "m:f", fields: [key]}': ("may add nothing", "`headers` or `query`"),
    '{hook: "m:f", fields: [key], headers: [Host]}': ("frames or routes", "leave it out"),
    '{hook: "m:f", fields: [], headers: [X-Sig]}': ("empty", ""),
    '[{hook: "m:f", fields: [key], headers: [X]}, {oauth1: {}}]': ("two signatures", "signed once"),
}


@pytest.mark.parametrize("auth", MISTAKES)
def test_a_mistake_says_what_and_what_instead(tmp_path: Path, auth: str):
    file = tmp_path / "tidegate.yaml"
    file.write_text(
        "version: 1\nproviders:\n  bank:\n    origin: https://api.bank.test\n"
        f"    auth: {auth}\n    operations: [GET /v1/accounts]\n"
    )
    with pytest.raises(ConfigErrors) as found:
        load(file)
    message, hint = MISTAKES[auth]
    assert message in found.value.errors[0].message
    assert hint in found.value.errors[0].hint


def test_that_it_runs_code_is_shown():
    (weakness,) = weaknesses(load(EXAMPLE / "tidegate.yaml"))
    assert "runs code: `edgegrid:sign`" in weakness.what
    assert "`client_secret`" in weakness.what


@pytest.mark.parametrize(
    ("method", "target", "body", "signature"),
    [
        ("GET", "/", b"", "tL+y4hxyHxgWVD30X3pWnGKHcPzmrIF+LThiAOhMxYU="),
        ("GET", "/testapi/v1/t1?p1=1&p2=2", b"", "hKDH1UlnQySSHjvIcZpDMbQHihTQ0XyVAKZaApabdeA="),
        (
            "POST",
            "/testapi/v1/t3",
            b"datadatadatadatadatadatadatadata",
            "hXm4iCxtpN22m4cbZb4lVLW5rhX8Ca82vCFqXzSTPe4=",
        ),
    ],
)
def test_the_example_signs_as_akamais_published_vectors(
    monkeypatch: pytest.MonkeyPatch, method: str, target: str, body: bytes, signature: str
):
    monkeypatch.syspath_prepend(str(EXAMPLE))
    import edgegrid

    monkeypatch.delitem(sys.modules, "edgegrid")
    host = "https://akaa-baseurl-xxxxxxxxxxx-xxxxxxxxxxxxx.luna.akamaiapis.net"
    fields = {
        "client_token": Secret("akab-client-token-xxx-xxxxxxxxxxxxxxxx"),
        "access_token": Secret("akab-access-token-xxx-xxxxxxxxxxxxxxxx"),
        "client_secret": Secret("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx="),
    }
    call = SigningCall(method, host + target, (), body, fields)
    made = edgegrid.authorization(
        call, "20140321T19:34:21+0000", "nonce-xx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"
    )
    assert made.endswith(f";signature={signature}")


def test_neither_a_call_nor_what_is_added_shows_itself():
    secret = "k3y-that-is-not-shown"
    call = SigningCall("GET", f"https://api.test/?key={secret}", (), b"", {"key": Secret(secret)})
    assert secret not in repr(call) + repr(Signed(headers={"X": secret}))
