"""Hooks that sign: one that hangs, raises, lies or gives junk refuses its own calls, and nobody else's."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

import httpx
import pytest
from support.running import Running, running, wait_until
from support.scripted import Wire, scripted

from tidegate.sandbox import Authority

KEY = "a-key-of-acme-that-nobody-sees"
HOOKS = """
import base64
import threading

from tidegate.domain.hook import Signed

blocked = threading.Event()
seen = []


def good(call):
    seen.append((call.method, call.url, dict(call.headers), call.body, sorted(call.fields)))
    return Signed(headers={"X-Sig": f"{call.method} {len(call.body)}"}, query={"sig": "a b&c"})


def hangs(call):
    blocked.wait(60)
    return Signed(headers={"X-Sig": "late"})


def raises(call):
    key = call.fields["key"].reveal()
    raise ValueError(f"no {key.decode()} nor {base64.b64encode(key).decode()}")


def exits(call):
    raise SystemExit(3)


def hosts(call):
    return Signed(headers={"Host": "evil.test", "X-Sig": "s"})


def breaks(call):
    return Signed(headers={"X-Sig": "s\\r\\nX-Evil: 1"})


def numbers(call):
    return Signed(headers={"X-Sig": 7})


def nothing(call):
    return None


def floods(call):
    return Signed(headers={"X-Sig": "s" * 100_000})


def asks(call):
    return Signed(query={"admin": "1"})


def echoes(call):
    return Signed(headers={"X-Sig": call.fields["key"].reveal().decode()})
"""
NAMES = (
    "good",
    "hangs",
    "raises",
    "exits",
    "hosts",
    "breaks",
    "numbers",
    "nothing",
    "floods",
    "asks",
    "echoes",
)


@dataclass
class Origin:
    seen: list[str] = field(default_factory=list[str])

    def __call__(self, wire: Wire) -> None:
        with suppress(OSError):
            while head := wire.head():
                text = head.decode()
                length = next(
                    (
                        int(line.partition(":")[2])
                        for line in text.lower().split("\r\n")
                        if line.startswith("content-length:")
                    ),
                    0,
                )
                wire.read(length)
                self.seen.append(text)
                shown = next((x for x in text.split("\r\n") if x.lower().startswith("x-sig:")), "")
                body = f"you sent {shown}".encode()
                wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


@dataclass
class Scene:
    gateway: Running
    origin: Origin
    token: str

    def call(
        self, name: str, method: str = "GET", content: bytes = b"", query: str = ""
    ) -> httpx.Response:
        url = f"{self.gateway.url}/{name}/things{query}"
        headers = {"Tidegate-Token": self.token, "X-Sig": "a consumer's own"}
        return httpx.request(
            method, url, content=content, headers=headers, trust_env=False, timeout=60
        )


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("hooks")
    (folder / "hooks_of_a_test.py").write_text(HOOKS)
    ca, origin = Authority(), Origin()
    sys.path.insert(0, str(folder))
    try:
        with scripted(ca, origin) as url:
            common = f"""
    origin: {url}
    operations: [GET /things, POST /things]
    allow_private: [127.0.0.0/8]
    tls: {{ca: {ca.write(folder / "ca.pem")}}}
"""
            hooked = "".join(
                f"""  {name}:{common}    auth:
      hook: "hooks_of_a_test:{name}"
      fields: [key]
      headers: [X-Sig]
      query: [sig]
      body: true
      timeout: {"300ms" if name == "hangs" else "20s"}
"""
                for name in NAMES
            )
            granted = "\n".join(
                f'  - {{consumer: app, provider: {name}, operations: ["*"]}}'
                for name in ("plain", *NAMES)
            )
            declared = f"""
version: 1
gateway: {{listen: [{{bind: "127.0.0.1:0"}}]}}
clients: {{acme: {{}}}}
consumers: {{app: {{clients: [acme]}}}}
providers:
  plain:{common}    auth: bearer
{hooked}
grants:
{granted}
"""
            fields: dict[tuple[str, str], dict[str, str]] = {
                (name, "acme"): {"key": KEY} for name in NAMES
            }
            fields["plain", "acme"] = {"token": KEY}
            with running(folder / "home", declared, fields) as gateway:
                made = Scene(gateway, origin, gateway.token("app"))
                wait_until(lambda: made.call("good").status_code == 200)
                yield made
                sys.modules["hooks_of_a_test"].blocked.set()
    finally:
        sys.path.remove(str(folder))


def test_what_the_hook_adds_goes_out_and_nothing_of_the_consumers_own(scene: Scene):
    answer = scene.call("good", "POST", b"four", "?a=1&sig=mine")
    assert answer.status_code == 200
    head = scene.origin.seen[-1]
    assert head.startswith("POST /things?a=1&sig=a%20b%26c HTTP/1.1\r\n")
    assert head.lower().count("x-sig:") == 1
    assert "x-sig: POST 4" in head
    method, url, headers, body, fields = sys.modules["hooks_of_a_test"].seen[-1]
    assert (method, body, fields) == ("POST", b"four", ["key"])
    assert url.endswith("/things?a=1")
    assert not [name for name in headers if name.startswith("tidegate") or name == "x-sig"]


@pytest.mark.parametrize(
    "name", ["raises", "exits", "hosts", "breaks", "numbers", "nothing", "floods", "asks"]
)
def test_a_hook_that_raises_or_lies_has_its_call_refused(scene: Scene, name: str):
    before = len(scene.origin.seen)
    answers = [scene.call(name) for _ in range(6)]
    assert {(one.status_code, one.json()["code"]) for one in answers} == {(500, "hook_failed")}
    assert len(scene.origin.seen) == before
    assert all("hooks_of_a_test" not in one.text and KEY not in one.text for one in answers)
    ids = {one.json()["call"] for one in answers}
    known: list[str] = []

    def recorded() -> bool:
        calls = scene.gateway.state.store.calls.recent(limit=1000).calls
        known[:] = [str(one.detail) for one in calls if one.id in ids]
        return len(known) == len(ids)

    wait_until(recorded)
    assert all(f"hooks_of_a_test:{name}" in detail for detail in known)
    if name == "raises":
        assert all(
            "ValueError at hooks_of_a_test.py:" in detail and KEY not in detail for detail in known
        )


def test_a_hook_that_hangs_holds_up_nobody_else(scene: Scene):
    with ThreadPoolExecutor(12) as pool:
        hanging = [pool.submit(scene.call, "hangs") for _ in range(8)]
        time.sleep(0.1)
        assert [scene.call("plain").status_code for _ in range(5)] == [200] * 5
        assert [scene.call("good").status_code for _ in range(5)] == [200] * 5
        codes = {one.result().json()["code"] for one in hanging}
    assert codes == {"hook_failed"}


def test_what_a_hook_lets_out_is_struck_out_of_the_answer(scene: Scene):
    answer = scene.call("echoes")
    assert answer.status_code == 200
    assert KEY not in answer.text
    assert "****" in answer.text
