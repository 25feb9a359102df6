"""Built-in providers that sign in ways of their own: each signature is made again, and compared."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from support.running import running
from support.scripted import Wire, scripted
from support.sessions import Asked

from tidegate.sandbox import Authority

SECRET = "a-secret-of-acme-0123456789"
SECRET64 = base64.b64encode(SECRET.encode()).decode()


class Seen(list[Asked]):
    def __call__(self, wire: Wire) -> None:
        head = wire.head()
        line, *lines = head.decode().split("\r\n")
        method, target, _ = line.split(" ")
        fields = {n.lower(): v for n, _, v in (one.partition(": ") for one in lines if one)}
        body = wire.read(int(fields.get("content-length", "0")))
        self.append(Asked(method, target, fields, body))
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")


@contextmanager
def preset(folder: Path, name: str, fields: dict[str, str]) -> Iterator[tuple[Seen, httpx.Client]]:
    ca, seen = Authority(), Seen()
    with scripted(ca, seen) as origin:
        declared = f"""
version: 1
gateway: {{listen: [{{bind: "127.0.0.1:0"}}]}}
clients: {{acme: {{}}}}
consumers: {{app: {{clients: [acme]}}}}
providers:
  it:
    preset: {name}
    origin: {origin}
    allow_private: [127.0.0.0/8]
    tls: {{ca: {ca.write(folder / "ca.pem")}}}
grants: [{{consumer: app, provider: it, operations: ["*"]}}]
"""
        with running(folder / "home", declared, {("it", "acme"): fields}) as gateway:
            headers = {"Tidegate-Token": gateway.token("app")}
            with httpx.Client(
                base_url=f"{gateway.url}/it", headers=headers, trust_env=False, timeout=20
            ) as client:
                yield seen, client


def hmac_of(text: str, *, hexadecimal: bool) -> str:
    made = hmac.digest(SECRET.encode(), text.encode(), "sha256")
    return made.hex() if hexadecimal else base64.b64encode(made).decode()


def test_wsse_as_emarsys_has_it(tmp_path: Path):
    with preset(tmp_path, "emarsys", {"username": "acme001", "secret": SECRET}) as (seen, client):
        nonces: set[str] = set()
        for _ in range(2):
            assert client.get("/api/v2/settings").status_code == 200
            said = dict(re.findall(r'(\w+)="([^"]*)"', seen[-1].fields["x-wsse"]))
            assert seen[-1].fields["x-wsse"].startswith("UsernameToken ")
            text = said["Nonce"] + said["Created"] + SECRET
            digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
            assert said["PasswordDigest"] == base64.b64encode(digest.encode()).decode()
            assert said["Username"] == "acme001"
            nonces.add(said["Nonce"])
        assert len(nonces) == 2


def test_coinbase_exchange(tmp_path: Path):
    fields = {"key_id": "key-1", "passphrase": "a passphrase of acme", "secret": SECRET64}
    with preset(tmp_path, "coinbase-exchange", fields) as (seen, client):
        assert client.post("/orders?x=1", content=b'{"size": "1"}').status_code == 200
        got = seen[-1].fields
        text = f'{got["cb-access-timestamp"]}POST/orders?x=1{{"size": "1"}}'
        assert got["cb-access-sign"] == hmac_of(text, hexadecimal=False)
        assert (got["cb-access-key"], got["cb-access-passphrase"]) == (
            "key-1",
            fields["passphrase"],
        )


@pytest.mark.parametrize("body", [b"", b"symbol=BTCUSDT&side=BUY"])
def test_binance(tmp_path: Path, body: bytes):
    with preset(tmp_path, "binance", {"key": "key-1-of-acme", "secret": SECRET}) as (seen, client):
        made = client.request(
            "POST" if body else "GET", "/api/v3/order?recvWindow=5000", content=body
        )
        assert made.status_code == 200
        query = urlsplit(seen[-1].target).query
        signed, _, signature = query.partition("&signature=")
        assert signed.startswith("recvWindow=5000&timestamp=")
        assert len(parse_qs(signed)["timestamp"][0]) == 13
        assert signature == hmac_of(signed + body.decode(), hexadecimal=True)
        assert seen[-1].fields["x-mbx-apikey"] == "key-1-of-acme"


def test_bybit(tmp_path: Path):
    with preset(tmp_path, "bybit", {"key": "key-1-of-acme", "secret": SECRET}) as (seen, client):
        assert client.get("/v5/order/realtime?category=spot").status_code == 200
        got = seen[-1].fields
        text = f"{got['x-bapi-timestamp']}key-1-of-acme5000category=spot"
        assert got["x-bapi-sign"] == hmac_of(text, hexadecimal=True)
        assert (got["x-bapi-api-key"], got["x-bapi-recv-window"]) == ("key-1-of-acme", "5000")
