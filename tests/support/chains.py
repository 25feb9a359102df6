"""Chains of certificates: what RFC 5280 and RFC 9525 call good, and what they call bad and why."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from ipaddress import ip_network

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from support.certificates import (
    NOW,
    SERVER,
    Issued,
    authority,
    general_names,
    issue,
    leaf,
    rsa_key,
    tampered,
)

HOST = "api.provider.test"
IDN = "xn--bcher-kva.provider.test"
HOSTS = (HOST, IDN, "provider.test", "a.b.provider.test")
ROOT = authority("root")

Chain = list[Issued]
Make = Callable[[], Chain]


def direct(*names: str, **changes: object) -> Chain:
    """A leaf that the root signed."""
    return [leaf(ROOT, *(names or (HOST,)), **changes)]


def through(*intermediates: dict[str, object], **changes: object) -> Chain:
    """A leaf under intermediates, which are given from the root on and served as TLS says."""
    issuer, chain = ROOT, list[Issued]()
    for place, changed in enumerate(intermediates):
        issuer = authority(f"intermediate {place}", issuer, **changed)
        chain.insert(0, issuer)
    return [leaf(issuer, HOST, **changes), *chain]


def with_extension(value: x509.ExtensionType, *, critical: bool) -> dict[str, object]:
    return {"extensions": [(value, critical)]}


def constrained(
    permitted: list[x509.GeneralName] | None = None, excluded: list[x509.GeneralName] | None = None
) -> dict[str, object]:
    return with_extension(x509.NameConstraints(permitted, excluded), critical=True)


def key_usage(**signs: bool) -> dict[str, object]:
    kinds = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
        "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return with_extension(
        x509.KeyUsage(**{kind: signs.get(kind, False) for kind in kinds}), critical=True
    )


def unknown_extension(*, critical: bool) -> dict[str, object]:
    oid = x509.ObjectIdentifier("1.3.6.1.4.1.99999.1")
    return with_extension(x509.UnrecognizedExtension(oid, b"\x05\x00"), critical=critical)


def raw_names(der: bytes, *, critical: bool = False) -> dict[str, object]:
    oid = x509.ObjectIdentifier("2.5.29.17")
    return {"names": (), **with_extension(x509.UnrecognizedExtension(oid, der), critical=critical)}


def two_of_one_name() -> Chain:
    """The authority renewed its key: both of its certificates are served, the wrong one first."""
    old, new = authority("renewed", ROOT), authority("renewed", ROOT)
    return [leaf(new, HOST), old, new]


def one_of_them_expired() -> Chain:
    key = ec.generate_private_key(ec.SECP256R1())
    expired = authority("renewed", ROOT, key=key, not_after=NOW - timedelta(hours=1))
    return [leaf(expired, HOST), expired, authority("renewed", ROOT, key=key)]


def cross_signed() -> Chain:
    """One way leads to a root that nobody trusts, the other to ours."""
    key = ec.generate_private_key(ec.SECP256R1())
    ours = authority("cross", ROOT, key=key)
    return [leaf(ours, HOST), authority("cross", authority("elsewhere"), key=key), ours]


def around() -> Chain:
    """Two certificates of one issuer, of which one forbids its key to sign certificates."""
    key = ec.generate_private_key(ec.SECP256R1())
    forbidden = authority("renewed", ROOT, key=key, **key_usage(digital_signature=True))
    return [leaf(forbidden, HOST), forbidden, authority("renewed", ROOT, key=key)]


def swapped(chain: Chain) -> Chain:
    return [chain[0], *reversed(chain[1:])]


def named_in_subject() -> Issued:
    return issue(HOST, ROOT, ca=False, usages=SERVER)


def dns_names(*names: bytes) -> bytes:
    """`SubjectAltName` with these bytes as `dNSName` (RFC 5280 §4.2.1.6), each below 128."""
    inner = b"".join(b"\x82" + bytes([len(name)]) + name for name in names)
    return b"\x30" + bytes([len(inner)]) + inner


def maze() -> Chain:
    """Nine issuers of one name, none of which the root signed: paths multiply, none arrives."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(9)]
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "maze")])
    signers = [Issued(b"", key, name) for key in keys]
    issuers = [
        authority("maze", signers[(place + 1) % 9], key=key) for place, key in enumerate(keys)
    ]
    return [leaf(signers[0], HOST), *issuers]


GOOD: dict[str, Make] = {
    "signed by the root": direct,
    "through one intermediate": lambda: through({}),
    "through three intermediates": lambda: through({}, {}, {}),
    "intermediates in the wrong order": lambda: swapped(through({}, {}, {})),
    "root served too": lambda: [*through({}), ROOT],
    "certificate beside the chain": lambda: [*through({}), authority("unrelated")],
    "intermediate served twice": lambda: [*(chain := through({})), chain[1]],
    "two intermediates of one name": two_of_one_name,
    "old intermediate expired, new one not": one_of_them_expired,
    "cross-signed intermediate": cross_signed,
    "path length just kept": lambda: through({"path_length": 1}, {"path_length": 0}),
    "permitted by name constraint": lambda: through(constrained(general_names("provider.test"))),
    "not excluded by name constraint": lambda: through(
        constrained(excluded=general_names("x.test"))
    ),
    "no extended key usage": partial(direct, usages=()),
    "no basic constraints in the leaf": partial(direct, ca=None),
    "several purposes": partial(direct, usages=(ExtendedKeyUsageOID.CLIENT_AUTH, *SERVER)),
    "unknown extension, not critical": lambda: direct(**unknown_extension(critical=False)),
    "RSA of 2048 bits": lambda: direct(key=rsa_key()),
    "P-384": lambda: direct(key=ec.generate_private_key(ec.SECP384R1())),
    "Ed25519": lambda: direct(key=ed25519.Ed25519PrivateKey.generate()),
    "one of several names": partial(direct, "x.test", HOST, "y.test"),
    "name in other case": partial(direct, HOST.upper()),
    "wildcard for the label": partial(direct, "*.provider.test"),
    "keys that may do what they do": lambda: through(
        key_usage(key_cert_sign=True), **key_usage(digital_signature=True)
    ),
    "another way around an issuer whose key may not sign": around,
}

BAD: dict[str, tuple[Make, str]] = {
    "expired": (partial(direct, not_after=NOW - timedelta(hours=1)), "expired"),
    "not valid yet": (partial(direct, not_before=NOW + timedelta(hours=1)), "not_valid_yet"),
    "expired intermediate": (
        lambda: through({"not_after": NOW - timedelta(hours=1)}),
        "expired",
    ),
    "for clients": (partial(direct, usages=(ExtendedKeyUsageOID.CLIENT_AUTH,)), "wrong_purpose"),
    "for signing code": (
        partial(direct, usages=(ExtendedKeyUsageOID.CODE_SIGNING,)),
        "wrong_purpose",
    ),
    "for any purpose": (
        partial(direct, usages=(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)),
        "wrong_purpose",
    ),
    "intermediate for other purposes": (
        lambda: through({"usages": (ExtendedKeyUsageOID.EMAIL_PROTECTION,)}),
        "wrong_purpose",
    ),
    "issuer that is no authority": (lambda: through({"ca": False}), "bad_certificate"),
    "issuer without basic constraints": (lambda: through({"ca": None}), "bad_certificate"),
    "leaf that signs a leaf": (
        lambda: [leaf(own := leaf(ROOT, "x.test"), HOST), own],
        "bad_certificate",
    ),
    "path length exceeded": (lambda: through({"path_length": 0}, {}), "bad_certificate"),
    "outside the permitted names": (
        lambda: through(constrained(general_names("x.test"))),
        "bad_certificate",
    ),
    "excluded name": (
        lambda: through(constrained(excluded=general_names("provider.test"))),
        "bad_certificate",
    ),
    "excluded name beside the right one": (
        lambda: through(
            constrained(excluded=general_names("x.test")), names=general_names(HOST, "a.x.test")
        ),
        "bad_certificate",
    ),
    "address outside the permitted range": (
        lambda: through(
            constrained([x509.IPAddress(ip_network("192.0.2.0/24"))]),
            names=general_names(HOST, "127.0.0.1"),
        ),
        "bad_certificate",
    ),
    "RSA of 1024 bits": (lambda: direct(key=rsa_key(1024)), "bad_signature"),
    "signed by RSA of 1024 bits": (lambda: through({"key": rsa_key(1024)}), "bad_signature"),
    "curve that is not agreed on": (
        lambda: direct(key=ec.generate_private_key(ec.SECP256K1())),
        "handshake_failure",
    ),
    "unknown critical extension": (
        lambda: direct(**unknown_extension(critical=True)),
        "bad_certificate",
    ),
    "unknown critical extension in an intermediate": (
        lambda: through(unknown_extension(critical=True)),
        "bad_certificate",
    ),
    "signature with a bit turned": (lambda: [tampered(direct()[0])], "bad_signature"),
    "intermediate's signature with a bit turned": (
        lambda: [(chain := through({}))[0], tampered(chain[1])],
        "bad_signature",
    ),
    "intermediate left out": (lambda: through({})[:1], "unknown_issuer"),
    "unknown issuer": (lambda: [leaf(authority("stranger"), HOST)], "unknown_issuer"),
    "unknown issuer's root served": (
        lambda: [leaf(stranger := authority("stranger"), HOST), stranger],
        "unknown_issuer",
    ),
    "issuer of the root's name": (lambda: [leaf(authority("root"), HOST)], "bad_signature"),
    "self-signed": (lambda: [leaf(None, HOST)], "unknown_issuer"),
    "self-signed authority": (lambda: [leaf(None, HOST, ca=True)], "self_signed"),
    "authority as a server": (lambda: direct(ca=True), "self_signed"),
    "root as a server": (lambda: [ROOT], "self_signed"),
    "common name alone": (lambda: [named_in_subject()], "name_mismatch"),
    "no names": (partial(direct, names=()), "name_mismatch"),
    "empty list of names": (lambda: direct(**raw_names(b"\x30\x00")), "name_mismatch"),
    "another name": (partial(direct, "other.provider.test"), "name_mismatch"),
    "parent's name": (partial(direct, "provider.test"), "name_mismatch"),
    "name with the right one at its end": (partial(direct, f"x{HOST}"), "name_mismatch"),
    "name with the right one at its start": (partial(direct, f"{HOST}.x.test"), "name_mismatch"),
    "name cut by a NUL": (
        lambda: direct(**raw_names(dns_names(HOST.encode() + b"\0.x.test"))),
        "name_mismatch",
    ),
    "name with a dot at its end": (
        lambda: direct(**raw_names(dns_names(HOST.encode() + b"."))),
        "name_mismatch",
    ),
    "name with a dot at its start": (
        lambda: direct(**raw_names(dns_names(b".provider.test"))),
        "name_mismatch",
    ),
    "name as a URI": (
        partial(direct, names=[x509.UniformResourceIdentifier(f"https://{HOST}")]),
        "name_mismatch",
    ),
    "name as an e-mail address": (
        partial(direct, names=[x509.RFC822Name(f"a@{HOST}")]),
        "name_mismatch",
    ),
    "wildcard for a part of the label": (partial(direct, "a*.provider.test"), "name_mismatch"),
    "wildcard for two labels": (partial(direct, "*.*.test"), "name_mismatch"),
    "wildcard for everything": (partial(direct, "*"), "name_mismatch"),
    "wildcard for a public label": (partial(direct, "*.test"), "name_mismatch"),
    "wildcard within": (partial(direct, "api.*.test"), "name_mismatch"),
    "ten certificates too many": (lambda: [*direct(), *([ROOT] * 10)], "chain_too_long"),
    "a hundred issuers of one name": (
        lambda: [
            leaf(authority("one name", ROOT), HOST),
            *(authority("one name", ROOT) for _ in range(100)),
        ],
        "chain_too_long",
    ),
    "issuers that certify each other": (maze, "bad_certificate"),
    "thousands of names under thousands of constraints": (
        lambda: through(
            constrained(excluded=general_names(*(f"x{n}.x.test" for n in range(2_000)))),
            names=general_names(*(f"y{n}.y.test" for n in range(2_000)), HOST),
        ),
        "bad_certificate",
    ),
    "issuer whose key may not sign certificates": (
        lambda: through(key_usage(digital_signature=True)),
        "unknown_issuer",
    ),
    "leaf whose key may not sign": (
        lambda: direct(**key_usage(key_encipherment=True)),
        "bad_usage",
    ),
}

# (names in the certificate, host, whether they match)
NAMES = [
    (("*.provider.test",), "a.b.provider.test", False),
    (("*.provider.test",), "provider.test", False),
    (("*.b.provider.test",), "a.b.provider.test", True),
    ((IDN,), IDN, True),
    (("*.provider.test",), IDN, True),
    (("xn--*.provider.test",), IDN, False),
    (("127.0.0.1",), "127.0.0.1", True),
    (("::1",), "[::1]", True),
    (("127.0.0.2",), "127.0.0.1", False),
    ((HOST,), "127.0.0.1", False),
    (("*.0.0.1",), "127.0.0.1", False),
]
