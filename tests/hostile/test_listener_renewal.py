"""A listener's certificate, and whom it lets in, are renewed while it serves."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from support.canaries import may_hold
from support.certificates import Issued, authority, issue, leaf, private_pem
from support.running import running, wait_until
from support.scripted import Wire, scripted

from tidegate.sandbox import Authority

CALLERS = authority("callers")
REFUSED = (httpx.ReadError, httpx.RemoteProtocolError, httpx.ConnectError)


def caller() -> Issued:
    return issue(
        "shop.corp.test",
        CALLERS,
        ca=False,
        names=[x509.DNSName("shop.corp.test")],
        usages=[ExtendedKeyUsageOID.CLIENT_AUTH],
    )


def revoking(*revoked: Issued, until: timedelta = timedelta(days=1)) -> str:
    """The authority's list of revoked certificates."""
    now = datetime.now(UTC)
    made = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(CALLERS.name)
        .last_update(now - timedelta(days=2))
        .next_update(now + until)
        .add_extension(x509.CRLNumber(1), critical=False)
    )
    for one in revoked:
        serial = x509.load_der_x509_certificate(one.der).serial_number
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now)
        made = made.add_revoked_certificate(entry.build())
    return made.sign(CALLERS.key, SHA256()).public_bytes(Encoding.PEM).decode()


@dataclass(frozen=True)
class Gate:
    folder: Path
    root: Issued
    address: str

    def context(self, shown: Issued) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self.root.pem)
        pair = may_hold(self.folder / "caller.pem")
        pair.write_bytes(shown.pem.encode() + private_pem(shown))
        context.load_cert_chain(pair)
        return context

    def client(self, shown: Issued) -> httpx.Client:
        return httpx.Client(
            base_url=f"https://{self.address}", verify=self.context(shown), trust_env=False
        )

    def answers(self, shown: Issued) -> bool:
        try:
            with self.client(shown) as client:
                return client.get("/open/x").status_code == 200
        except REFUSED:
            return False

    def certificate(self, shown: Issued) -> bytes | None:
        """The one that the listener shows."""
        host, port = self.address.split(":")
        with (
            socket.create_connection((host, int(port)), 5) as plain,
            self.context(shown).wrap_socket(plain, server_hostname=host) as secured,
        ):
            return secured.getpeercert(binary_form=True)

    def show(self, own: Issued) -> None:
        (self.folder / "listener.key").write_bytes(private_pem(own))
        (self.folder / "listener.pem").write_text(own.pem)

    def publish(self, crl: str) -> None:
        (self.folder / "callers.crl").write_text(crl)


def answering(wire: Wire) -> None:
    with suppress(OSError):
        while wire.head():
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


@contextmanager
def gate(folder: Path, crl: str) -> Iterator[Gate]:
    own, root = Authority(), authority("root")
    ca = own.write(folder / "ca.pem")
    key = may_hold(folder / "listener.key")
    key.touch(mode=0o600)
    (folder / "callers.pem").write_text(CALLERS.pem)
    (folder / "callers.crl").write_text(crl)
    first = Gate(folder, root, "")
    first.show(leaf(root, "127.0.0.1"))
    tls = (
        f"{{certificate: {folder}/listener.pem, key: {key}, client_ca: {folder}/callers.pem, "
        f"client_crl: {folder}/callers.crl}}"
    )
    with scripted(own, answering) as origin:
        declared = f"""
version: 1
gateway: {{listen: [{{bind: "127.0.0.1:0", tls: {tls}}}]}}
clients: {{acme: {{}}}}
consumers: {{shop: {{clients: [acme], identities: [{{certificate: shop.corp.test}}]}}}}
providers:
  open:
    origin: {origin}
    auth: none
    operations: ["GET /x"]
    allow_private: [127.0.0.0/8]
    tls: {{ca: {ca}}}
grants:
  - {{consumer: shop, provider: open, operations: ["*"]}}
"""
        with running(folder / "home", declared, {}) as gateway:
            (address,) = gateway.addresses.values()
            yield Gate(folder, root, address)


def test_a_revoked_certificate_is_refused_and_its_connections_end(tmp_path: Path):
    good, lost = caller(), caller()
    with gate(tmp_path, revoking()) as gateway, gateway.client(lost) as kept:
        assert gateway.answers(good)
        assert kept.get("/open/x").status_code == 200
        gateway.publish(revoking(lost))
        wait_until(lambda: not gateway.answers(lost))
        assert gateway.answers(good)
        # A connection from before cannot go on either.
        with pytest.raises(REFUSED):
            kept.get("/open/x")


def test_nobody_is_let_in_by_a_list_that_says_nothing_of_today(tmp_path: Path):
    with gate(tmp_path, revoking(until=timedelta(hours=-1))) as gateway:
        assert not gateway.answers(caller())
        gateway.publish(revoking())
        wait_until(lambda: gateway.answers(caller()))


def test_a_list_that_cannot_be_read_leaves_the_one_before_in_force(tmp_path: Path):
    good, lost = caller(), caller()
    with gate(tmp_path, revoking(lost)) as gateway:
        for wrong in ("", "no list", revoking()[:200]):
            gateway.publish(wrong)
            # What comes after it is read, so it was.
            again = leaf(gateway.root, "127.0.0.1")
            gateway.show(again)
            assert gateway.answers(good)
            assert not gateway.answers(lost)
        gateway.publish(revoking(lost))
        wait_until(lambda: gateway.certificate(good) == again.der)
        assert not gateway.answers(lost)


def test_the_listeners_own_certificate_is_replaced_without_a_failed_call(tmp_path: Path):
    shown = caller()
    with gate(tmp_path, revoking()) as gateway:
        for _ in range(3):
            following = leaf(gateway.root, "127.0.0.1")
            gateway.show(following)

            def taken_up(following: Issued = following) -> bool:
                assert gateway.answers(shown)
                return gateway.certificate(shown) == following.der

            wait_until(taken_up)


def test_a_key_of_another_certificate_changes_nothing(tmp_path: Path):
    shown = caller()
    with gate(tmp_path, revoking()) as gateway:
        before = gateway.certificate(shown)
        (tmp_path / "listener.key").write_bytes(private_pem(leaf(gateway.root, "127.0.0.1")))
        gateway.publish(revoking(caller()))
        assert gateway.certificate(shown) == before
        last = leaf(gateway.root, "127.0.0.1")
        gateway.show(last)
        wait_until(lambda: gateway.certificate(shown) == last.der)
