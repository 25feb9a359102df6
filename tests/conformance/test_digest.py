"""HTTP Digest (RFC 7616) with servers that others wrote, and with one that a test bends."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from support.certificates import authority
from support.htdigest import apache, lighttpd
from support.running import Running, running, wait_until
from support.scripted import Wire, scripted

from tidegate.sandbox import Authority

USER, PASSWORD = "user-of-acme", 'p"ss\\wörd: & more'
BODY_MAX = 8 << 20


class Front:
    """A gateway before the server."""

    def __init__(self, gateway: Running) -> None:
        self.gateway = gateway
        self._headers = {"Tidegate-Token": gateway.token("app")}
        self.client = httpx.Client(headers=self._headers, trust_env=False, timeout=30)

    def call(
        self, method: str = "GET", content: bytes = b"", path: str = "/thing"
    ) -> httpx.Response:
        return self.client.request(method, f"{self.gateway.url}/it{path}", content=content)


@contextmanager
def before(
    folder: Path, origin: str, ca: bytes, auth: str, password: str = PASSWORD
) -> Iterator[Front]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ca.pem").write_bytes(ca)
    declared = f"""
version: 1
gateway: {{listen: [{{bind: "127.0.0.1:0"}}]}}
clients: {{acme: {{}}}}
consumers: {{app: {{clients: [acme]}}}}
providers:
  it:
    origin: {origin}
    auth: {{digest: {auth}}}
    operations: [GET /thing, POST /thing, GET /there]
    allow_private: [127.0.0.0/8]
    tls: {{ca: {folder}/ca.pem}}
grants: [{{consumer: app, provider: it, operations: ["*"]}}]
"""
    fields = {"username": USER, "password": password}
    with running(folder / "home", declared, {("it", "acme"): fields}) as gateway:
        front = Front(gateway)
        with front.client:
            yield front


def test_apache_is_answered_and_asks_once(tmp_path: Path):
    root = authority("root")
    with (
        apache(tmp_path / "server", root, USER, PASSWORD) as server,
        before(tmp_path, server.origin, root.pem.encode(), "{md5: true}") as front,
    ):
        for query in ("", "?a=1&b=%20%22", "?x"):
            answer = front.call(path=f"/thing{query}")
            assert (answer.status_code, answer.text) == (200, "the thing")
        wait_until(lambda: len(server.statuses()) == 4)
        assert server.statuses() == ["401", "200", "200", "200"]


def test_apaches_nonce_grows_old_and_is_replaced(tmp_path: Path):
    root = authority("root")
    with (
        apache(tmp_path / "server", root, USER, PASSWORD, lifetime_s=1) as server,
        before(tmp_path, server.origin, root.pem.encode(), "{md5: true}") as front,
    ):
        for _ in range(2):
            assert front.call().status_code == 200
            time.sleep(2.1)
        wait_until(lambda: len(server.statuses()) == 4)
        assert server.statuses() == ["401", "200", "401", "200"]


def test_a_wrong_password_is_shown_once_a_call(tmp_path: Path):
    root = authority("root")
    with (
        apache(tmp_path / "server", root, USER, PASSWORD) as server,
        before(tmp_path, server.origin, root.pem.encode(), "{md5: true}", "wrong one") as front,
    ):
        assert [front.call().status_code for _ in range(3)] == [401] * 3
        wait_until(lambda: len(server.statuses()) == 4)
        assert server.statuses() == ["401"] * 4


def test_md5_alone_is_not_answered_unless_it_is_declared(tmp_path: Path):
    root = authority("root")
    with (
        apache(tmp_path / "server", root, USER, PASSWORD) as server,
        before(tmp_path, server.origin, root.pem.encode(), "{}") as front,
    ):
        answer = front.call()
        assert (answer.status_code, answer.json()["code"]) == (503, "credential_unavailable")
        assert "md5: true" in answer.json()["detail"]
        wait_until(lambda: len(server.statuses()) == 1)
        assert server.statuses() == ["401"]


@pytest.mark.parametrize("userhash", [False, True])
def test_lighttpd_is_answered_with_sha256(tmp_path: Path, *, userhash: bool):
    root = authority("root")
    with (
        lighttpd(tmp_path / "server", root, USER, PASSWORD, userhash=userhash) as server,
        before(tmp_path, server.origin, root.pem.encode(), "{}") as front,
    ):
        assert [front.call().status_code for _ in range(3)] == [200] * 3
        wait_until(lambda: len(server.statuses()) == 4)
        assert server.statuses() == ["401", "200", "200", "200"]


@dataclass
class Bent:
    """A server that judges each answer by RFC 7616 §3.4 itself, and asks as the test says."""

    asks: list[str] = field(default_factory=lambda: ['algorithm=SHA-256, qop="auth"'])
    status: int = 200
    counts: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    bodies: list[bytes] = field(default_factory=list[bytes])
    shown: list[str] = field(default_factory=list[str])
    seen: int = 0
    always_asks: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, wire: Wire) -> None:
        with suppress(OSError):
            while head := wire.head():
                line, *lines = head.decode().split("\r\n")
                method, target, _ = line.split(" ")
                pairs = (one.partition(": ") for one in lines if one)
                fields = {name.lower(): value for name, _, value in pairs}
                body = wire.read(int(fields.get("content-length", "0")))
                with self.lock:
                    self.seen += 1
                    shown = fields.get("authorization", "")
                    if shown:
                        self.shown.append(shown)
                    good = self._judge(method, target, body, shown)
                    if good and not self.always_asks:
                        self.bodies.append(body)
                        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                    else:
                        asked = "".join(
                            f'WWW-Authenticate: Digest realm="r", nonce="n{self.seen}", {ask}\r\n'
                            for ask in self.asks
                        )
                        wire.send(f"HTTP/1.1 401 No\r\nContent-Length: 0\r\n{asked}\r\n".encode())

    def _judge(self, method: str, target: str, body: bytes, shown: str) -> bool:
        said = {
            name: quoted or plain
            for name, quoted, plain in re.findall(r'(\w+)=(?:"((?:[^"\\]|\\.)*)"|([^,\s]+))', shown)
        }
        if not said:
            return False
        assert said["uri"] == target
        h = self._hash(said["algorithm"])
        key = h(f"{USER}:r:{PASSWORD}".encode())
        if said["algorithm"].endswith("-sess"):
            key = h(f"{key}:{said['nonce']}:{said['cnonce']}".encode())
        what = f"{method}:{target}"
        if said["qop"] == "auth-int":
            what += f":{h(body)}"
        parts = (key, said["nonce"], said["nc"], said["cnonce"], said["qop"], h(what.encode()))
        counts = self.counts.setdefault(said["nonce"], [])
        count = int(said["nc"], 16)
        assert count not in counts, "a count is used once"
        counts.append(count)
        return h(":".join(parts).encode()) == said["response"]

    def _hash(self, algorithm: str):
        names = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}
        name = names[algorithm.removesuffix("-sess")]
        return lambda text: hashlib.new(name, text, usedforsecurity=False).hexdigest()


@contextmanager
def bent(folder: Path, server: Bent, auth: str = "{}") -> Iterator[Front]:
    ca = Authority()
    with scripted(ca, server) as origin, before(folder, origin, ca.pem, auth) as front:
        yield front


@pytest.mark.parametrize("algorithm", ["SHA-256", "SHA-256-sess", "SHA-512-256"])
@pytest.mark.parametrize("qop", ["auth", "auth-int"])
def test_each_algorithm_and_quality(tmp_path: Path, algorithm: str, qop: str):
    server = Bent([f'algorithm={algorithm}, qop="{qop}"'])
    with bent(tmp_path, server) as front:
        assert front.call("POST", b'{"a": 1}', "/thing?q=%22").status_code == 200
        assert front.call().status_code == 200
    assert server.bodies == [b'{"a": 1}', b""]
    assert server.seen == 3


def test_the_strongest_that_is_offered_is_taken(tmp_path: Path):
    server = Bent(['algorithm=MD5, qop="auth"', 'algorithm=SHA-256, qop="auth"'])
    with bent(tmp_path, server, "{md5: true}") as front:
        assert front.call().status_code == 200
    assert "algorithm=SHA-256" in server.shown[0]


def test_a_body_of_any_size_that_is_held_goes_out_again_and_a_larger_one_never(tmp_path: Path):
    server = Bent()
    with bent(tmp_path, server) as front:
        assert front.call("POST", bytes(300_000)).status_code == 200
        assert len(server.bodies[0]) == 300_000
        answer = front.call("POST", bytes(BODY_MAX + 1))
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert server.seen == 2


def test_many_calls_at_once_use_each_count_once(tmp_path: Path):
    server = Bent()
    with bent(tmp_path, server) as front:
        assert front.call().status_code == 200
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: front.call().status_code, range(64)))
    assert answers == [200] * 64
    assert server.seen == 66


def test_a_server_that_asks_for_ever_is_answered_once_a_call(tmp_path: Path):
    server = Bent(['algorithm=SHA-256, qop="auth", stale=true'], always_asks=True)
    with bent(tmp_path, server) as front:
        assert [front.call().status_code for _ in range(3)] == [401] * 3
    # The first goes out twice; the later ones too, because the nonce is said to be stale.
    assert server.seen == 6


def test_nothing_of_the_password_is_sent(tmp_path: Path):
    server = Bent()
    with bent(tmp_path, server) as front:
        assert front.call().status_code == 200
    assert all(PASSWORD not in shown for shown in server.shown)
