"""Vouch for a sandbox: a certificate authority of its own, for this machine and this week.

The authority's key lives in memory alone; what is offered is its certificate, which a gateway takes
as a provider's `tls.ca_file`. A leaf's key reaches OpenSSL through an anonymous file, never a disk.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tidegate.domain.secret import Secret

_LIFETIME = timedelta(days=7)
_CLOCK_SKEW = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """A leaf with its key."""

    chain_pem: bytes
    key_pem: Secret

    def context(self) -> ssl.SSLContext:
        """Make the TLS settings of a server that shows this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        with (
            _anonymous_file(self.chain_pem) as chain,
            _anonymous_file(self.key_pem.reveal()) as key,
        ):
            context.load_cert_chain(chain, key)
        return context


class Authority:
    """A local certificate authority. What it signs is trusted only where its certificate is."""

    def __init__(self, name: str = "Tidegate sandbox authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        public_key = self._key.public_key()
        self._certificate = (
            _draft(self._name, self._name, public_key, _LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    @property
    def pem(self) -> bytes:
        """The authority's certificate."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def write(self, path: Path) -> Path:
        """Put the authority's certificate where a gateway can be pointed at it."""
        path.write_bytes(self.pem)
        return path

    def key_pem(self) -> Secret:
        """Give the authority's key away, for a caller that signs elsewhere."""
        return Secret(_private_pem(self._key))

    def certificate(
        self, names: Sequence[str], *, lifetime: timedelta = _LIFETIME
    ) -> ServerCertificate:
        """Sign a leaf for these names and addresses; a negative lifetime makes an expired one."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Tidegate sandbox")])
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        server_only = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        leaf = (
            _draft(subject, self._name, key.public_key(), lifetime)
            .add_extension(
                x509.SubjectAlternativeName([_general_name(n) for n in names]), critical=True
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(server_only, critical=False)
            .add_extension(identifier, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        chain = leaf.public_bytes(serialization.Encoding.PEM)
        return ServerCertificate(chain, Secret(_private_pem(key)))


def _draft(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, lifetime: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    ends = now + lifetime
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, ends) - _CLOCK_SKEW)
        .not_valid_after(ends)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


@contextmanager
def _anonymous_file(content: bytes) -> Generator[str]:
    # OpenSSL reads keys only from a path; this one is of this process and on no disk.
    descriptor = os.memfd_create("tidegate-sandbox")
    try:
        os.write(descriptor, content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
