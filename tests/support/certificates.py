"""Certificates as good or as bad as a test wants them: nothing here judges what it signs."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime.now(UTC)
A_DAY = timedelta(days=1)
SERVER = (ExtendedKeyUsageOID.SERVER_AUTH,)
_SHA256_WITH_RSA = bytes.fromhex("2a864886f70d01010b")
_SHA1_WITH_RSA = bytes.fromhex("2a864886f70d010105")


@dataclass(frozen=True)
class Issued:
    """A certificate in DER with its key and its subject's name."""

    der: bytes
    key: Any
    name: x509.Name

    @property
    def pem(self) -> str:
        return ssl.DER_cert_to_PEM_cert(self.der)


def issue(
    subject: str,
    issuer: Issued | None = None,
    *,
    ca: bool | None,
    names: Sequence[x509.GeneralName] = (),
    path_length: int | None = None,
    key: Any = None,
    not_before: datetime = NOW - A_DAY,
    not_after: datetime = NOW + A_DAY,
    usages: Sequence[x509.ObjectIdentifier] = (),
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
) -> Issued:
    """Sign a certificate; without an issuer, with its own key. `ca` None leaves constraints out."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    signer = issuer or Issued(b"", key, name)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(signer.name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
    )
    added = list(extensions)
    if ca is not None:
        added.append((x509.BasicConstraints(ca, path_length if ca else None), True))
    if names:
        added.append((x509.SubjectAlternativeName(names), False))
    if usages:
        added.append((x509.ExtendedKeyUsage(usages), False))
    for extension, critical in added:
        builder = builder.add_extension(extension, critical=critical)
    digest = None if "ed25519" in type(signer.key).__module__ else hashes.SHA256()
    made = builder.sign(signer.key, digest)
    return Issued(made.public_bytes(serialization.Encoding.DER), key, name)


def authority(subject: str, issuer: Issued | None = None, **changes: Any) -> Issued:
    """A root, or an intermediate of `issuer`."""
    return issue(subject, issuer, **{"ca": True} | changes)


def leaf(issuer: Issued | None, *hosts: str, **changes: Any) -> Issued:
    """A server's certificate for names and addresses."""
    defaults = {"ca": False, "names": general_names(*hosts), "usages": SERVER}
    return issue("a provider", issuer, **defaults | changes)


def general_names(*hosts: str) -> list[x509.GeneralName]:
    return [_general_name(host) for host in hosts]


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


@cache
def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    """One key of a size for the whole run: they take long to find."""
    return rsa.generate_private_key(65_537, bits)


def signed_with_sha1(certificate: Issued, issuer: Issued) -> Issued:
    """Sign again, as libraries no longer do: issuer and new signature are RSA's."""
    der = certificate.der.replace(_SHA256_WITH_RSA, _SHA1_WITH_RSA)
    length = issuer.key.key_size // 8
    signed = x509.load_der_x509_certificate(der).tbs_certificate_bytes
    signature = issuer.key.sign(signed, padding.PKCS1v15(), hashes.SHA1())
    return replace(certificate, der=der[:-length] + signature)


def tampered(certificate: Issued) -> Issued:
    """The same with one bit of the signature turned."""
    return replace(certificate, der=certificate.der[:-1] + bytes([certificate.der[-1] ^ 1]))


def server_context(chain: Sequence[Issued], ciphers: str = "ALL:@SECLEVEL=0") -> ssl.SSLContext:
    """TLS settings of a server that shows this chain, the server's own certificate first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(ciphers)
    with TemporaryDirectory() as folder:
        certificates, key = Path(folder) / "chain.pem", Path(folder) / "key.pem"
        certificates.write_text("".join(one.pem for one in chain))
        key.write_bytes(private_pem(chain[0]))
        context.load_cert_chain(certificates, key)
    return context


def private_pem(certificate: Issued) -> bytes:
    return certificate.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
