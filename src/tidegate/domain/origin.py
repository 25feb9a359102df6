"""Say where a provider lives: scheme, host and port (RFC 6454)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address
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
        parts = urlsplit(text)
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
        if port == 0:
            raise ValueError("the port is not a number from 1 to 65535")
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
        if "%" in host:
            raise ValueError("an address with a zone id is not an origin")
        return host.lower()
    try:
        ascii_host = (
            host.encode("idna").decode("ascii").lower() if not host.isascii() else host.lower()
        )
    except UnicodeError as error:
        raise ValueError("the host is not a valid internationalised name") from error
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
