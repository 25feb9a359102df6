"""The provider's end: who cannot prove that it is the provider gets no credential, and no part looks whole."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import ssl
import warnings
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from tempfile import NamedTemporaryFile

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from support.certificates import (
    NOW,
    Issued,
    authority,
    leaf,
    private_pem,
    rsa_key,
    server_context,
)
from support.passage import KEY, put_before
from support.scripted import Wire, scripted
from support.serving import serving, tls_server
from support.up import install

from tidegate.catalog.schema import json_schema
from tidegate.sandbox import Authority

HOST = "127.0.0.1"
ROOT = authority("root")
OPERATIONS = 'operations: ["GET /{name}"], allow_private: [127.0.0.0/8]'
# The second Oakley group (RFC 2409 §6.2): 1024 bits, and so common that breaking it once would pay.
OAKLEY_2 = """-----BEGIN DH PARAMETERS-----
MIGHAoGBAP//////////yQ/aoiFowjTExmKLgNwc0SkCTgiKZ8x0Agu+pjsTmyJR
Sgh5jjQE3e+VGbPNOkMbMCsKbfJfFDdP4TVtbVHCReSFtXZiXn7G9ExC6aY37WsL
/1y29Aa37e44a/taiZ+lrp8kEXxLH+ZJKGZR7OZTgf//////////AgEC
-----END DH PARAMETERS-----
"""


class Written:
    """A root as `put_before` wants its authority."""

    def __init__(self, root: Issued) -> None:
        self._root = root

    def write(self, path: Path) -> Path:
        path.write_text(self._root.pem)
        return path


def old_version(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = server_context([leaf(ROOT, HOST)])
    with warnings.catch_warnings():
        # That they are old is the point.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    return context


def only(ciphers: str, chain: list[Issued]) -> ssl.SSLContext:
    context = server_context(chain, f"{ciphers}:@SECLEVEL=0")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with NamedTemporaryFile("w") as parameters:
        parameters.write(OAKLEY_2)
        parameters.flush()
        context.load_dh_params(parameters.name)
    return context


IMPOSTORS: dict[str, Callable[[], ssl.SSLContext]] = {
    "expired": lambda: server_context([leaf(ROOT, HOST, not_after=NOW - timedelta(hours=1))]),
    "another name": lambda: server_context([leaf(ROOT, "api.provider.test")]),
    "self-signed": lambda: server_context([leaf(None, HOST)]),
    "another authority": lambda: server_context([leaf(authority("root"), HOST)]),
    "TLS 1.0": lambda: old_version(ssl.TLSVersion.TLSv1),
    "TLS 1.1": lambda: old_version(ssl.TLSVersion.TLSv1_1),
    "static RSA": lambda: only("AES128-GCM-SHA256", [leaf(ROOT, HOST, key=rsa_key())]),
    "CBC": lambda: only("ECDHE-RSA-AES128-SHA256", [leaf(ROOT, HOST, key=rsa_key())]),
    "finite-field Diffie-Hellman": lambda: only(
        "DHE-RSA-AES128-GCM-SHA256", [leaf(ROOT, HOST, key=rsa_key())]
    ),
    "no authentication": lambda: only("ADH-AES128-SHA256", [leaf(ROOT, HOST)]),
    "no encryption": lambda: only("NULL-SHA256", [leaf(ROOT, HOST, key=rsa_key())]),
}


@pytest.mark.parametrize("context", IMPOSTORS.values(), ids=IMPOSTORS)
def test_an_impostor_gets_no_credential(tmp_path: Path, context: Callable[[], ssl.SSLContext]):
    with (
        tls_server(context()) as server,
        put_before(tmp_path, Written(ROOT), server.origin) as passage,
    ):
        answer = httpx.get(f"{passage.base}/x", headers=passage.headers, trust_env=False)
        assert (answer.status_code, answer.json()["code"]) == (502, "tls_failed")
        assert passage.gateway.records(1)[0].outcome == "tls_failed"
    assert server.connections > 0
    assert server.received == b""


@pytest.mark.parametrize("context", IMPOSTORS.values(), ids=IMPOSTORS)
def test_a_careless_caller_would_be_taken_in(context: Callable[[], ssl.SSLContext]):
    """Each impostor is one that works: what stops it above is the gateway."""
    careless = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    careless.check_hostname, careless.verify_mode = False, ssl.CERT_NONE
    careless.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    careless.set_ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0")
    with (
        tls_server(context()) as server,
        socket.create_connection((HOST, server.port)) as connection,
        careless.wrap_socket(connection) as secured,
    ):
        secured.sendall(f"GET /x HTTP/1.1\r\nAuthorization: {KEY}\r\n\r\n".encode())
        assert secured.recv(12) == b"HTTP/1.1 200"
    assert KEY.encode() in server.received


def test_the_same_provider_well_certified_gets_it(tmp_path: Path):
    with (
        tls_server(server_context([leaf(ROOT, HOST)])) as server,
        put_before(tmp_path, Written(ROOT), server.origin) as passage,
    ):
        answer = httpx.get(f"{passage.base}/x", headers=passage.headers, trust_env=False)
        assert answer.text == "ok"
    assert KEY.encode() in server.received


def test_the_authority_of_one_provider_does_not_vouch_for_another(tmp_path: Path):
    other = authority("other")
    (tmp_path / "other.pem").write_text(other.pem)
    with tls_server(server_context([leaf(ROOT, HOST)])) as server:
        same = f"origin: {server.origin}, auth: none, {OPERATIONS}"
        second = f"there-too: {{{same}, tls: {{ca: {tmp_path}/other.pem}}}}"
        third = f"by-mozilla: {{{same}}}"
        with put_before(
            tmp_path,
            Written(ROOT),
            server.origin,
            providers=f"{second}\n  {third}",
            grants=["there-too", "by-mozilla"],
        ) as passage:
            codes = [
                httpx.get(
                    f"{passage.gateway.url}/{name}/x", headers=passage.headers, trust_env=False
                ).status_code
                for name in ("there", "there-too", "by-mozilla")
            ]
    assert codes == [200, 502, 502]


@pytest.mark.parametrize(("right", "status"), [(True, 200), (False, 502)], ids=["right", "wrong"])
def test_a_pin_narrows_what_is_trusted(tmp_path: Path, *, right: bool, status: int):
    served = leaf(ROOT, HOST)
    pinned = served if right else leaf(ROOT, HOST)
    public = pinned.key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    pin = "sha256/" + base64.b64encode(hashlib.sha256(public).digest()).decode()
    (tmp_path / "root.pem").write_text(ROOT.pem)
    with tls_server(server_context([served])) as server:
        tls = f'tls: {{ca: {tmp_path}/root.pem, pins: ["{pin}"]}}'
        with put_before(
            tmp_path,
            Written(ROOT),
            server.origin,
            providers=f"pinned: {{origin: {server.origin}, auth: none, {OPERATIONS}, {tls}}}",
            grants=["pinned"],
        ) as passage:
            answer = httpx.get(
                f"{passage.gateway.url}/pinned/x", headers=passage.headers, trust_env=False
            )
    assert answer.status_code == status
    assert bool(server.received) == right


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n",
    ],
    ids=["until the end", "by length", "chunked"],
)
def test_an_end_that_tls_did_not_announce_is_no_whole_answer(tmp_path: Path, head: bytes):
    def cut(wire: Wire) -> None:
        wire.head()
        wire.send(head + b"0123456789")
        # Whoever sits between can end TCP, and cannot say the end of TLS.
        wire.half_close()

    authority = Authority()
    with scripted(authority, cut) as origin, put_before(tmp_path, authority, origin) as passage:
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(f"{passage.base}/x", headers=passage.headers, trust_env=False)
        assert passage.gateway.records(1)[0].outcome != "ok"


@pytest.mark.parametrize("tickets", [0, 2], ids=["proven anew", "with sessions"])
def test_a_certificate_is_replaced_without_a_failed_call(tmp_path: Path, tickets: int):
    context = server_context([leaf(ROOT, HOST)])
    context.num_tickets = tickets
    with (
        tls_server(context) as server,
        put_before(tmp_path, Written(ROOT), server.origin) as passage,
        httpx.Client(headers=passage.headers, trust_env=False) as client,
    ):
        for turn in range(60):
            if turn % 10 == 0:
                renew(context, tmp_path)
            assert client.get(f"{passage.base}/x").status_code == 200
    # The server closes after each answer, and one without tickets proves its certificate each time.
    assert len(server.handshakes) == 60
    assert any(handshake.resumed for handshake in server.handshakes) == bool(tickets)


def renew(context: ssl.SSLContext, folder: Path) -> None:
    fresh = leaf(ROOT, HOST)
    (folder / "fresh.pem").write_text(fresh.pem)
    (folder / "fresh.key").write_bytes(private_pem(fresh))
    context.load_cert_chain(folder / "fresh.pem", folder / "fresh.key")


def test_the_environment_adds_no_root_no_proxy_and_no_key_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    proxied: list[socket.socket] = []
    proxy = socket.create_server((HOST, 0))
    address = f"http://{HOST}:{proxy.getsockname()[1]}"
    (tmp_path / "root.pem").write_text(ROOT.pem)
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, str(tmp_path / "root.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys.log"))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, address)
        monkeypatch.setenv(name.lower(), address)
    with serving(proxy, proxied.append), tls_server(server_context([leaf(ROOT, HOST)])) as server:
        installed = install(tmp_path, server.origin)
        with installed.up() as gateway:
            assert gateway.url
            # The process has it by now; the test's own client would write the file as well.
            monkeypatch.delenv("SSLKEYLOGFILE")
            answer = gateway.get()
            assert (answer.status_code, answer.json()["code"]) == (502, "tls_failed")
            assert gateway.stop() == 0
    assert server.received == b""
    assert server.connections > 0
    assert proxied == []
    assert not (tmp_path / "keys.log").exists()


def test_nothing_that_can_be_declared_turns_verification_off():
    words = json.dumps(json_schema()).lower()
    names = {word for word in words.replace('"', " ").split() if word.isidentifier()}
    assert "pins" in names
    # What a cache's key leaves out of a query; a part of no other name.
    names.remove("ignore")
    assert not {
        name
        for name in names
        if any(
            bad in name for bad in ("verify", "insecure", "skip_", "unsafe", "no_check", "ignore")
        )
    }
