"""Say where a provider lives: scheme, host and port (RFC 6454)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from unicodedata import normalize
from urllib.parse import urlsplit

DEFAULT_PORTS = {"https": 443, "http": 80}
_ENDS_IN_A_NUMBER = re.compile(r"(^|\.)([0-9]+|0x[0-9a-f]*)\.?$")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")


@dataclass(frozen=True, slots=True, order=True)
class Origin:
    """One origin. `host` is lower-case ASCII (IDNA A-labels) or an address literal without brackets."""

    scheme: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Origin:
        """Read `https://host[:port]`; anything more than an origin is an error.

        Raises:
            ValueError: with a sentence that says what is wrong.
        """
        # `urlsplit` drops tabs and line ends, and IDNA what has no width: the host is what one sees.
        if not text.isprintable() or " " in text:
            raise ValueError("an origin has no spaces or invisible characters")
        try:
            parts = urlsplit(text)
        except ValueError:
            raise ValueError("the host is neither a host name nor an address") from None
        if parts.scheme not in DEFAULT_PORTS:
            raise ValueError(f"an origin starts with `https://`, not `{parts.scheme or text}`")
        if (
            parts.path not in {"", "/"}
            or parts.query
            or parts.fragment
            or "?" in text
            or "#" in text
        ):
            raise ValueError("an origin has no path, query or fragment")
        if parts.username is not None or "@" in parts.netloc:
            raise ValueError("an origin has no user or password")
        try:
            port = parts.port
        except ValueError as error:
            raise ValueError("the port is not a number from 1 to 65535") from error
        if port == 0 or parts.netloc.endswith(":"):
            raise ValueError("the port is not a number from 1 to 65535")
        if re.search(r"\][^:]", parts.netloc):
            raise ValueError("after an address in brackets comes a port or nothing")
        return cls(parts.scheme, _host(parts.hostname or ""), port or DEFAULT_PORTS[parts.scheme])

    @property
    def authority(self) -> str:
        """The host, bracketed where IPv6 needs it, with the port unless it is the default one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if DEFAULT_PORTS.get(self.scheme) == self.port else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


def _host(host: str) -> str:
    if ":" in host:
        return _ipv6(host)
    ascii_host = host if host.isascii() else _a_labels(host)
    if _ENDS_IN_A_NUMBER.search(ascii_host):
        return _ipv4(ascii_host)
    labels = ascii_host.split(".")
    if len(ascii_host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):  # noqa: PLR2004
        raise ValueError("the host is not a host name")
    return ascii_host


def _ipv4(host: str) -> str:
    """Read a host whose last label is a number: others would read any of those as an address.

    `127.1`, `0x7f.1` and `017700000001` are loopback to them (WHATWG URL §3.5).
    """
    try:
        return str(IPv4Address(host))
    except ValueError:
        raise ValueError("an IPv4 address is written as four decimal numbers") from None


def _ipv6(host: str) -> str:
    if "%" in host:
        raise ValueError("an address with a zone id is not an origin")
    try:
        return str(IPv6Address(host))
    except ValueError:
        raise ValueError("what stands in brackets is not an IPv6 address") from None


def _a_labels(host: str) -> str:
    """Write an internationalised name in ASCII, where all readers agree on how.

    This is IDNA 2003, which makes `fass` of `faß`; to RFC 5891 those are two names with two owners.
    So a name that does not come back as it was written is refused.
    """
    written = normalize("NFC", host)
    try:
        encoded = written.encode("idna")
        if encoded.decode("idna") == written:
            return encoded.decode("ascii")
    except UnicodeError:
        pass
    raise ValueError("the host is not a plain internationalised name; write it as `xn--…`")
