"""What an engine starts from; docs/reference/engine.md tells the JSON that it becomes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tidegate.domain.secret import Secret


@dataclass(frozen=True, slots=True)
class ListenerTls:
    """The certificate that a listener shows, and the authorities that its consumers must have.

    With `client_crl_pem` (RFC 5280 §5), one list of each authority, what is on a list is refused, and so
    is everybody when a list is missing or past its `nextUpdate`.
    """

    certificate_pem: str
    key_pem: Secret
    client_ca_pem: str | None = None
    client_crl_pem: str | None = None


@dataclass(frozen=True, slots=True)
class Listener:
    """One place to listen. Without `tls` it speaks HTTP/1.1 and h2c; port 0 takes a free one."""

    name: str
    bind: str
    tls: ListenerTls | None = None


@dataclass(frozen=True, slots=True)
class Resolver:
    """Who resolves names. No `servers` means the system's; `hosts` come before DNS."""

    servers: tuple[str, ...] = ()
    hosts: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    timeout_ms: int = 2_000


@dataclass(frozen=True, slots=True)
class CacheDisk:
    """Where more answers are kept than memory holds, sealed, and how many bytes of them."""

    folder: Path
    bytes: int


@dataclass(frozen=True, slots=True)
class CacheBounds:
    """How many bytes of answers are stored: of all, of one client, of one answer's body."""

    bytes: int = 256 * 1024**2
    client_bytes: int = 64 * 1024**2
    answer_bytes: int = 4 * 1024**2
    disk: CacheDisk | None = None

    def to_json(self) -> dict[str, object]:
        """Say it as the native engine reads it."""
        written = asdict(self)
        if self.disk is not None:
            written["disk"]["folder"] = str(self.disk.folder)
        return written


@dataclass(frozen=True, slots=True)
class SharedStore:
    """Where `nodes` engines count together: a `socket`, or `host` and `port`, with or without TLS.

    `node` is what this engine is known by, the same after a restart.
    """

    nodes: int
    node: str
    socket: str | None = None
    host: str = ""
    port: int = 0
    tls: bool = False
    ca_pem: str | None = None
    prefix: str = "tidegate"
    user: str | None = None
    password: Secret | None = None
    cache_client_bytes: int | None = None
    """What each client's answers may take of it; None: answers are not shared."""

    def to_json(self) -> dict[str, object]:
        """Write what the native engine reads. It holds the password."""
        place: dict[str, object] = {"host": self.host, "port": self.port}
        if self.socket is not None:
            at: dict[str, object] = {"unix": self.socket}
        elif self.tls:
            at = {"tls": {**place, "ca_pem": self.ca_pem}}
        else:
            at = {"tcp": place}
        return {
            "at": at,
            "nodes": self.nodes,
            "node": self.node,
            "prefix": self.prefix,
            "cache_client_bytes": self.cache_client_bytes,
            "user": self.user,
            "password": self.password.reveal().decode() if self.password else None,
        }


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """How the engine runs. What it decides comes later, by `Engine.publish`."""

    spool: Path
    listeners: tuple[Listener, ...] = ()
    workers: int = 2
    spool_bytes_max: int = 4 * 1024**3
    head_timeout_ms: int = 10_000
    idle_timeout_ms: int = 75_000
    body_idle_timeout_ms: int = 30_000
    connections_max: int = 20_000
    calls_max: int = 10_000
    record: bool = True
    resolver: Resolver = Resolver()
    cache: CacheBounds = CacheBounds()
    shared: SharedStore | None = None
    """None: this engine counts alone."""

    def to_json(self) -> str:
        """Write what the native engine reads. It holds the listeners' keys: it is never logged."""
        return json.dumps(
            {
                "listeners": [_listener(listener) for listener in self.listeners],
                "workers": self.workers,
                "spool": str(self.spool),
                "spool_bytes_max": self.spool_bytes_max,
                "head_timeout_ms": self.head_timeout_ms,
                "idle_timeout_ms": self.idle_timeout_ms,
                "body_idle_timeout_ms": self.body_idle_timeout_ms,
                "connections_max": self.connections_max,
                "calls_max": self.calls_max,
                "record": self.record,
                "resolver": asdict(self.resolver),
                "cache": self.cache.to_json(),
                "shared": self.shared.to_json() if self.shared else None,
            }
        )


def tls_json(listener: Listener) -> str:
    """Write a listener's TLS alone. It holds the key: it is never logged."""
    return json.dumps(_listener(listener).get("tls"))


def _listener(listener: Listener) -> dict[str, object]:
    written: dict[str, object] = {"name": listener.name, "bind": listener.bind}
    if listener.tls is not None:
        written["tls"] = {
            "certificate_pem": listener.tls.certificate_pem,
            "key_pem": listener.tls.key_pem.reveal().decode(),
            "client_ca_pem": listener.tls.client_ca_pem,
            "client_crl_pem": listener.tls.client_crl_pem,
        }
    return written
