"""The form of `gateway.shared`: the store at which several gateways count together."""

from __future__ import annotations

import ipaddress
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field
from pydantic.functional_validators import AfterValidator, model_validator

from tidegate.catalog.entry import Entry
from tidegate.catalog.fields import Name, Size, refuse

_CACHE_MIN = 1024**2
_SCHEMES = ("rediss", "redis", "unix")


def _check_store(text: str) -> str:
    form = "`rediss://host:6379`, or `unix:///run/valkey/valkey.sock` on this machine"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        refuse("this is no address of a store", f"write {form}")
    if parts.scheme not in _SCHEMES:
        refuse("this is no address of a store", f"write {form}")
    if parts.username is not None or parts.password is not None:
        refuse("a user or password does not stand in the address", "use `user` and `password`")
    if parts.query or parts.fragment:
        refuse("an address has no query", f"write {form}")
    if parts.scheme == "unix":
        if parts.netloc or not parts.path.startswith("/"):
            refuse("a socket is named by its whole path", "like `unix:///run/valkey/valkey.sock`")
    elif not parts.hostname or parts.path not in {"", "/"} or port == 0:
        refuse("a store is a host and a port", f"write {form}")
    return text


StoreUrl = Annotated[str, AfterValidator(_check_store)]


class StorePasswordEntry(Entry):
    """Where the password is: it does not stand in this file."""

    env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    """The environment variable that holds it."""
    file: str | None = None
    """A file whose first line it is."""
    openbao: str | None = None
    """A secret at OpenBao, `MOUNT/PATH#FIELD`."""

    @model_validator(mode="after")
    def _one_place(self) -> StorePasswordEntry:
        if sum(place is not None for place in (self.env, self.file, self.openbao)) != 1:
            refuse("a password is in one place", "give `env`, `file` or `openbao`")
        return self


class SharedEntry(Entry):
    """Where several gateways count together: a Valkey or Redis server, version 7 or newer."""

    valkey: StoreUrl
    """Its address: `rediss://host:6379`, `unix:///path`, or `redis://` on this machine."""
    nodes: int = Field(ge=1, le=1_000)
    """How many gateways run at most. While the store is away, each has this part of every quota."""
    node: str | None = Field(default=None, min_length=1, max_length=200)
    """What this gateway is known by, the same after a restart; host and folder where absent."""
    prefix: Name = "tidegate"
    """What begins the names of its keys; one for each installation that uses the store."""
    user: str | None = Field(default=None, min_length=1)
    """Its user (ACL)."""
    password: StorePasswordEntry | None = None
    """Where the password is."""
    ca: str | None = None
    """A PEM file of certificates that replace the public roots for the store."""
    cache: Size | None = None
    """What of it each client's answers may take (1 MiB at least); absent: answers are not shared."""
    plain: bool = False
    """Reach it without TLS on another machine; whoever is on the path can read and change counts."""

    @model_validator(mode="after")
    def _safe(self) -> SharedEntry:
        parts = urlsplit(self.valkey)
        if self.ca is not None and parts.scheme != "rediss":
            refuse("`ca` is for TLS", "write `rediss://`, or leave `ca` out")
        if parts.scheme == "redis" and not self.plain and not is_loopback(parts.hostname or ""):
            refuse(
                "counts and the password would travel without TLS",
                "write `rediss://`; or `plain: true`, which is shown as weak",
            )
        if self.cache is not None and self.cache < _CACHE_MIN:
            refuse("this is too little for answers", "give `cache` 1MiB at least")
        if self.user is not None and self.password is None:
            refuse("a user has a password", "say with `password` where it is")
        return self


def is_loopback(host: str) -> bool:
    """Whether a host is this machine by its very name."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
