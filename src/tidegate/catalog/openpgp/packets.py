"""Read an OpenPGP file strictly: its armor, its packets, and the numbers in them (RFC 9580 §§3, 4, 6)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

PACKETS_MAX: Final = 1_000
_ARMOR: Final = re.compile(
    r"\s*-----BEGIN PGP (?P<kind>[A-Z ]+)-----[ \t]*\r?\n"
    r"(?:[A-Za-z][A-Za-z0-9-]*: [^\r\n]*\r?\n)*[ \t]*\r?\n"
    r"(?P<data>[A-Za-z0-9+/=\r\n]+?)"
    r"(?:\r?\n=[A-Za-z0-9+/]{4})?\r?\n"
    r"-----END PGP (?P=kind)-----\s*"
)


class WrongCertificateError(Exception):
    """A file that holds no certificate that could be encrypted to; `hint` says what would do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


MALFORMED: Final = "the file is no OpenPGP certificate"


@dataclass(slots=True)
class Reader:
    """Takes bytes from the front; what is too short is no certificate."""

    data: bytes
    at: int = field(default=0)

    def __bool__(self) -> bool:
        return self.at < len(self.data)

    def take(self, length: int) -> bytes:
        """The next so many bytes."""
        taken = self.data[self.at : self.at + length]
        if len(taken) != length:
            raise WrongCertificateError(MALFORMED, "it ends too soon")
        self.at += length
        return taken

    def whole(self, length: int) -> int:
        """The next number of so many bytes (§3.1)."""
        return int.from_bytes(self.take(length), "big")

    def mpi(self) -> bytes:
        """The next number that says its own length in bits (§3.2)."""
        bits = self.whole(2)
        return self.take((bits + 7) // 8)

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self.data) - self.at)


def unarmored(content: bytes) -> bytes:
    """The bytes of a file that may be armored (§6.2)."""
    if content[:1] and content[0] & 0x80:
        return content
    found = _ARMOR.fullmatch(content.decode("ascii", "replace"))
    if found is None:
        raise WrongCertificateError(MALFORMED, "export the key with `gpg --armor --export`")
    if "PRIVATE" in found["kind"]:
        raise WrongCertificateError(
            "the file holds a private key", "keep the public key alone in it"
        )
    if found["kind"] != "PUBLIC KEY BLOCK":
        raise WrongCertificateError(MALFORMED, "export the key with `gpg --armor --export`")
    try:
        return base64.b64decode("".join(found["data"].split()), validate=True)
    except binascii.Error:
        raise WrongCertificateError(MALFORMED, "its armor is broken") from None


def packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The packets of a file, by their type (§4.2). Those of unknown length stand in no certificate."""
    reader, count = Reader(data), 0
    while reader:
        count += 1
        if count > PACKETS_MAX:
            raise WrongCertificateError(f"the file has more than {PACKETS_MAX} packets")
        head = reader.whole(1)
        if not head & 0x80:
            raise WrongCertificateError(MALFORMED)
        if head & 0x40:
            yield head & 0x3F, reader.take(_length(reader))
        elif head & 3 == 3:  # noqa: PLR2004 - an old packet that goes on to the file's end
            raise WrongCertificateError(MALFORMED)
        else:
            yield (head >> 2) & 0xF, reader.take(reader.whole(1 << (head & 3)))


def subpackets(data: bytes) -> Iterator[tuple[int, bool, bytes]]:
    """A signature's subpackets: of which type, whether critical, and what they hold (§5.2.3.7)."""
    reader = Reader(data)
    while reader:
        held = Reader(reader.take(_length(reader, may_be_partial=False)))
        kind = held.whole(1)
        yield kind & 0x7F, bool(kind & 0x80), held.rest()


def _length(reader: Reader, *, may_be_partial: bool = True) -> int:
    first = reader.whole(1)
    if first < 192:  # noqa: PLR2004 - §4.2.1.1
        return first
    if first == 255:  # noqa: PLR2004 - §4.2.1.3
        return reader.whole(4)
    if may_be_partial and first >= 224:  # noqa: PLR2004 - §4.2.1.4
        raise WrongCertificateError(MALFORMED)
    return ((first - 192) << 8) + reader.whole(1) + 192
