"""Files that are encrypted to OpenPGP keys are opened by GnuPG; keys that nobody should use are refused."""

from __future__ import annotations

import random  # noqa: TID251 - seeded, so that a failure can be had again
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.declared import CRM
from support.gnupg import Gnupg, gnupg

from tidegate.catalog import ConfigErrors, load
from tidegate.catalog.openpgp import WrongCertificateError, read_certificate
from tidegate.domain.declaration import Declaration, Provider
from tidegate.domain.operation import Operation
from tidegate.domain.protection import EncryptFile, FieldRule, PgpKey, Protection
from tidegate.engine.protect import Sample, TriedSample, try_sample
from tidegate.snapshot import compile_snapshot

KINDS = {
    "rsa": ("rsa2048", "rsa2048"),
    "curve25519": ("ed25519", "cv25519"),
    "p256": ("nistp256", "nistp256"),
    "p384": ("nistp384", "nistp384"),
    "p521": ("nistp521", "nistp521"),
}
FILE = b"%PDF-1.7\r\n" + bytes(range(256)) * 400


@pytest.fixture(scope="module")
def gpg() -> Iterator[Gnupg]:
    # An agent's socket has a path of 107 bytes at most.
    with tempfile.TemporaryDirectory(prefix="gpg") as folder, gnupg(Path(folder) / "h") as made:
        yield made


@pytest.fixture(scope="module")
def fingerprints(gpg: Gnupg) -> dict[str, str]:
    return {name: gpg.make(name, *kinds) for name, kinds in KINDS.items()}


def now() -> int:
    return int(datetime.now(UTC).timestamp())


def tried(key: PgpKey, at: str, media_type: str, body: bytes) -> TriedSample:
    provider = Provider(
        "there", "", ("https://there.example",), (), (Operation("Post", "POST", "/x"),)
    )
    policy = Protection("p", (("there", "Post"),), "x", (FieldRule(at, EncryptFile(key)),))
    declaration = Declaration(providers=(provider,), protection=(policy,))
    sample = Sample("POST", "/there/x", "", (("content-type", media_type),), body)
    return try_sample(compile_snapshot(declaration, 1, (), ()), sample)


@pytest.mark.parametrize("kind", KINDS)
def test_gnupg_opens_what_is_encrypted_to_its_keys(
    gpg: Gnupg, fingerprints: dict[str, str], kind: str
):
    exported = gpg.export(fingerprints[kind], armored=kind != "p384")
    key = read_certificate(exported, fingerprints[kind], now())
    assert key.cipher == "AES-256"
    found = tried(key, "file *", "application/pdf", FILE)
    assert found.after is not None, found.detail
    assert dict(found.after.headers)["content-type"] == "application/octet-stream"
    assert FILE[:256] not in found.after.body
    assert gpg.open(found.after.body) == FILE


def test_a_part_of_a_form_is_encrypted_and_its_name_needs_a_rule(
    gpg: Gnupg, fingerprints: dict[str, str]
):
    key = read_certificate(gpg.export(fingerprints["rsa"]), None, now())
    head = b'--b\r\nContent-Disposition: form-data; name="list"'
    body = head + b"\r\nContent-Type: text/csv\r\n\r\na,b\r\n--b--\r\n"
    found = tried(key, "part list", "multipart/form-data; boundary=b", body)
    assert found.after is not None, found.detail
    _, _, rest = found.after.body.partition(b"Content-Type: application/octet-stream\r\n\r\n")
    assert gpg.open(rest.rpartition(b"\r\n--")[0]) == b"a,b"
    named = body.replace(b'"list"', b'"list"; filename="jane.csv"')
    found = tried(key, "part list", "multipart/form-data; boundary=b", named)
    assert found.outcome == "undeclared_field"


def test_what_was_altered_on_the_way_is_not_opened(gpg: Gnupg, fingerprints: dict[str, str]):
    key = read_certificate(gpg.export(fingerprints["curve25519"]), None, now())
    found = tried(key, "file *", "text/plain", FILE)
    assert found.after is not None
    altered = bytearray(found.after.body)
    altered[-100] ^= 1
    with pytest.raises(AssertionError, match="manipulated"):
        gpg.open(bytes(altered))


def refused(content: bytes, fingerprint: str | None = None, at: int | None = None) -> str:
    with pytest.raises(WrongCertificateError) as caught:
        read_certificate(content, fingerprint, at or now())
    return f"{caught.value} {caught.value.hint}"


def test_another_key_is_refused_and_told(gpg: Gnupg, fingerprints: dict[str, str]):
    exported = gpg.export(fingerprints["rsa"])
    assert fingerprints["rsa"] in refused(exported, "0" * 40)
    both = gpg.export(fingerprints["rsa"], armored=False) + gpg.export(
        fingerprints["p256"], armored=False
    )
    assert "several keys" in refused(both)


def test_a_key_that_ends_is_used_until_then(gpg: Gnupg):
    fingerprint = gpg.make("ends", "ed25519", "cv25519", expires="10d")
    exported = gpg.export(fingerprint)
    key = read_certificate(exported, fingerprint, now())
    assert key.expires is not None
    left = int(key.expires.timestamp()) - now()
    assert 9 * 86_400 < left <= 10 * 86_400 + 60
    assert "has expired" in refused(exported, at=int(key.expires.timestamp()))


def test_a_subkey_that_has_expired_is_not_used(gpg: Gnupg):
    fingerprint = gpg.make("old", "ed25519")
    secret = ("--passphrase", "", "--pinentry-mode", "loopback")
    gpg.run(*secret, "--quick-add-key", fingerprint, "cv25519", "encrypt", "1d")
    assert "subkey for encryption has expired" in refused(
        gpg.export(fingerprint), at=now() + 2 * 86_400
    )


def test_a_key_without_a_subkey_for_encryption_is_refused(gpg: Gnupg):
    exported = gpg.export(gpg.make("signs", "ed25519"))
    assert "no subkey for encryption" in refused(exported)
    signing = gpg.make("signs2", "ed25519")
    secret = ("--passphrase", "", "--pinentry-mode", "loopback")
    gpg.run(*secret, "--quick-add-key", signing, "rsa2048", "sign", "0")
    assert "no subkey for encryption" in refused(gpg.export(signing))


def test_a_revoked_key_is_refused(gpg: Gnupg, tmp_path: Path):
    fingerprint = gpg.make("revoked", "ed25519", "cv25519")
    answers = b"y\n0\n\ny\n"
    certificate = gpg.run(
        "--command-fd", "0", "--pinentry-mode", "loopback", "--passphrase", "", "--no-batch",
        "--armor", "--gen-revoke", fingerprint, data=answers,
    )  # fmt: skip
    gpg.run("--import", data=certificate)
    assert "revoked" in refused(gpg.export(fingerprint))


def test_a_subkey_of_another_key_is_none_of_this_one(gpg: Gnupg, fingerprints: dict[str, str]):
    """Who puts a subkey of their own into a key that is published would read what is encrypted to it."""
    own = gpg.export(gpg.make("bare", "ed25519"), armored=False)
    other = gpg.export(fingerprints["curve25519"], armored=False)
    # The last packets: subkey and its binding.
    subkey = other.rindex(b"\xb8\x38")
    assert "no subkey for encryption" in refused(own + other[subkey:])


def test_what_is_no_certificate_is_refused(gpg: Gnupg, fingerprints: dict[str, str]):
    secret = gpg.run(
        "--armor", "--pinentry-mode", "loopback", "--passphrase", "", "--export-secret-keys",
        fingerprints["rsa"],
    )  # fmt: skip
    assert "private key" in refused(secret)
    exported = gpg.export(fingerprints["rsa"], armored=False)
    for length in range(0, 300, 7):
        refused(exported[:length])
    for at in range(12, 270, 5):
        altered = bytearray(exported)
        altered[at] ^= 0x10
        refused(bytes(altered), fingerprints["rsa"])
    for content in (
        b"",
        b"key",
        b"\xff",
        b"-----BEGIN PGP MESSAGE-----\n\nAAAA\n-----END PGP MESSAGE-----",
    ):
        refused(content)


def test_whatever_is_changed_in_a_certificate_it_is_read_or_refused(
    gpg: Gnupg, fingerprints: dict[str, str]
):
    chance = random.Random(4880)
    for kind in ("rsa", "curve25519", "p521"):
        exported = gpg.export(fingerprints[kind], armored=False)
        own = read_certificate(exported, None, now())
        for _ in range(150):
            altered = bytearray(exported)
            for _ in range(chance.randint(1, 3)):
                altered[chance.randrange(len(altered))] = chance.randrange(256)
            try:
                read = read_certificate(bytes(altered), own.fingerprint, now())
            except WrongCertificateError:
                continue
            # What nobody signed says nothing: the key is the same one.
            assert read == own


def declared(folder: Path, encrypt: str, at: str) -> list[str]:
    """What is wrong with a file that declares it."""
    rule = f"[{{at: '{at}', do: {encrypt}}}]"
    policy = f"protection:\n  - {{operations: ['crm:PostPeople'], purpose: x, fields: {rule}}}\n"
    (folder / "tidegate.yaml").write_text(CRM + policy)
    try:
        action = load(folder).protection[0].fields[0].do
    except ConfigErrors as caught:
        return [f"{one.message} {one.hint}" for one in caught.errors]
    assert isinstance(action, EncryptFile)
    assert action.key.file == "psp.asc"
    return []


def test_a_key_is_declared_with_its_fingerprint(
    gpg: Gnupg, fingerprints: dict[str, str], tmp_path: Path
):
    own = fingerprints["rsa"]
    (tmp_path / "psp.asc").write_bytes(gpg.export(own))
    spaced = " ".join(own[at : at + 4] for at in range(0, 40, 4)).lower()
    pgp = f"{{encrypt: {{pgp: {{key: psp.asc, fingerprint: '{spaced}'}}}}}}"
    assert declared(tmp_path, pgp, "file *") == []
    assert declared(tmp_path, pgp, "part list") == []
    for encrypt, at, said in (
        (pgp, "body $.x", "encrypts files"),
        (pgp, "part list filename", "encrypts files"),
        (pgp, "file x", "not a body of one file"),
        ("allow", "file *", "encrypted or not at all"),
        (pgp.replace(spaced, "0" * 40), "file *", own),
        (pgp.replace(spaced, "x"), "file *", "40 hexadecimal digits"),
        (pgp.replace("psp.asc", "none.asc"), "file *", "cannot be read"),
        ("{encrypt: {pgp: {key: psp.asc}}}", "file *", "fingerprint"),
        (pgp.replace("}}}", "}, as: visa}}"), "file *", "no shape"),
    ):
        errors = declared(tmp_path, encrypt, at)
        assert any(said in error for error in errors), (encrypt, errors)
