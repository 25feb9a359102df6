"""HTTP/2 on either side, with the other side's version its own affair."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import httpx
import pytest
from support.passage import KEY, Before, Passage
from support.scripted import Wire, scripted

from tidegate.sandbox import Authority

SCRIPT = Path(__file__).parent / "scripts" / "h2_provider.mjs"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def answering(wire: Wire) -> None:
    while wire.head():
        wire.send(OK)


@contextmanager
def h2_provider(authority: Authority, folder: Path) -> Iterator[str]:
    certificate = authority.certificate(["127.0.0.1"])
    (folder / "leaf.pem").write_bytes(certificate.chain_pem)
    (folder / "leaf.key").write_bytes(certificate.key_pem.reveal())
    command = ["node", str(SCRIPT), str(folder / "leaf.pem"), str(folder / "leaf.key")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield f"https://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


@pytest.mark.parametrize("http", ["auto", "2"])
def test_provider_is_spoken_to_in_http2(
    before: Before, authority: Authority, tmp_path: Path, http: str
):
    with h2_provider(authority, tmp_path) as origin, before(origin, http=http) as passage:
        answer = httpx.post(
            f"{passage.base}/thing", headers=passage.headers, content=b"hello", trust_env=False
        )
        (record,) = passage.gateway.records(1)
    assert answer.json() == {
        "authorization": sha256(f"Bearer {KEY}".encode()).hexdigest(),
        "authority": origin.removeprefix("https://"),
        "body": "hello",
    }
    assert record.outcome == "ok"


def test_provider_of_http2_alone_is_refused_http1(
    before: Before, authority: Authority, tmp_path: Path
):
    with h2_provider(authority, tmp_path) as origin, before(origin, http="1.1") as passage:
        answer = httpx.get(f"{passage.base}/thing", headers=passage.headers, trust_env=False)
    assert answer.status_code == 502
    assert answer.headers["content-type"] == "application/problem+json"


def test_many_calls_share_one_http2_connection(before: Before, authority: Authority):
    async def ask(passage: Passage) -> list[httpx.Response]:
        async with httpx.AsyncClient(
            http1=False, http2=True, headers=passage.headers, trust_env=False, timeout=20
        ) as client:
            asked = (client.get(f"{passage.base}/thing") for _ in range(64))
            return await asyncio.gather(*asked)

    with scripted(authority, answering) as origin, before(origin) as passage:
        answers = asyncio.run(ask(passage))
        records = passage.gateway.records(64)
    assert {(answer.status_code, answer.http_version) for answer in answers} == {(200, "HTTP/2")}
    assert len({record.id for record in records}) == 64


def test_listener_with_tls_offers_http2(before: Before, authority: Authority, tmp_path: Path):
    certificate = authority.certificate(["127.0.0.1"])
    (tmp_path / "front.pem").write_bytes(certificate.chain_pem)
    (tmp_path / "front.key").write_bytes(certificate.key_pem.reveal())
    (tmp_path / "front.key").chmod(0o600)
    tls = f"{{certificate: {tmp_path / 'front.pem'}, key: {tmp_path / 'front.key'}}}"
    listen = f', {{bind: "127.0.0.1:0", tls: {tls}}}'
    context = ssl.create_default_context(cadata=authority.pem.decode())
    versions: list[str] = []
    with scripted(authority, answering) as origin, before(origin, listen=listen) as passage:
        _, secured = passage.gateway.addresses.values()
        for http2 in (True, False):
            with httpx.Client(http2=http2, verify=context, trust_env=False) as client:
                answer = client.get(f"https://{secured}/there/thing", headers=passage.headers)
            assert answer.text == "ok"
            versions.append(answer.http_version)
    assert versions == ["HTTP/2", "HTTP/1.1"]


def test_trailers_cross_from_http2_to_http1(before: Before, authority: Authority, tmp_path: Path):
    reader = Path(__file__).parent / "scripts" / "trailers.mjs"
    with h2_provider(authority, tmp_path) as origin, before(origin) as passage:
        done = subprocess.run(
            ["node", str(reader), f"{passage.base}/thing", passage.token],
            capture_output=True,
            timeout=30,
            check=True,
        )
    assert json.loads(done.stdout) == {"status": 200, "trailers": {"x-checksum": "4711"}}
