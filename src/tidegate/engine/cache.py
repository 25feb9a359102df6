"""What the engine's cache is asked: how much it holds, and to take answers out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CacheShare:
    """What is stored for one client; `client` None: for all who may share it."""

    client: str | None
    answers: int
    bytes: int


@dataclass(frozen=True, slots=True)
class CacheOnDisk:
    """How much is kept on disk, of all clients, and how much may be."""

    answers: int
    bytes: int
    bytes_max: int


@dataclass(frozen=True, slots=True)
class SharedCacheStats:
    """How it stands with the answers that several engines share.

    `hits` are answers that another had fetched, `waits` calls that waited for another, `kept` answers
    that this one sent there, `refused` what did not open: somebody else writes to the store.
    """

    connected: bool
    client_bytes_max: int
    hits: int
    waits: int
    kept: int
    refused: int


@dataclass(frozen=True, slots=True)
class CacheStats:
    """How much is stored in memory, and how much may be; and on disk, where that is wanted."""

    bytes: int
    bytes_max: int
    client_bytes_max: int
    clients: tuple[CacheShare, ...]
    disk: CacheOnDisk | None = None
    shared: SharedCacheStats | None = None
    """None: this engine's answers are its own."""


@dataclass(frozen=True, slots=True)
class CachePurge:
    """Which answers are taken out: those for which all that is named holds.

    `key` is in hexadecimal, as `explain` shows it; `group` is one that the provider named (RFC 9875).
    Nothing named is an error, unless `all` says that everything is meant.
    """

    client: str | None = None
    provider: str | None = None
    operation: str | None = None
    key: str | None = None
    group: str | None = None
    all: bool = False
