"""How `tidegate up` runs on this machine: listeners, limits, resolver.

Settings stand under `gateway` in the first file but are no part of the declaration: a revision is
the same on every machine, a listener's address and key are not.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from tidegate.catalog.errors import ConfigError, ConfigErrors
from tidegate.catalog.files import DeclaredFile, read_files
from tidegate.catalog.schema import GatewayEntry, ListenEntry
from tidegate.catalog.shared_form import SharedEntry, is_loopback
from tidegate.catalog.weaknesses import Weakness

_STORE_PORT: Final = 6379


@dataclass(frozen=True, slots=True)
class Listener:
    """One address. `certificate` and `key` are PEM files; both or none."""

    name: str
    bind: str
    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None
    client_crl: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """Name what its TLS is read from."""
        named = (self.certificate, self.key, self.client_ca, self.client_crl)
        return tuple(file for file in named if file is not None)


@dataclass(frozen=True, slots=True)
class Resolver:
    """How names are resolved; no servers means the machine's own."""

    servers: tuple[str, ...] = ()
    hosts: tuple[tuple[str, tuple[str, ...]], ...] = ()
    timeout_ms: int = 2_000


@dataclass(frozen=True, slots=True)
class ConsentPages:
    """Where the consent pages are: as people reach them, and as they are listened for."""

    public_url: str
    bind: str
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class CacheBounds:
    """How many bytes of answers are stored: of all, of one client, of one answer's body; on disk."""

    bytes: int = 256 * 1024**2
    client_bytes: int = 64 * 1024**2
    answer_bytes: int = 4 * 1024**2
    disk_bytes: int | None = None
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class SharedStore:
    """The store at which `nodes` gateways count together. `socket`, or `host` and `port`.

    The password is in one of three places; none: the store wants none.
    """

    nodes: int
    node: str | None
    prefix: str
    socket: str | None = None
    host: str = ""
    port: int = 0
    tls: bool = False
    ca: Path | None = None
    user: str | None = None
    password_env: str | None = None
    password_file: Path | None = None
    password_openbao: str | None = None
    cache_client_bytes: int | None = None
    """What each client's answers may take of it; None: answers are not shared."""

    @property
    def is_plain(self) -> bool:
        """Whether counts and the password leave this machine without TLS."""
        return self.socket is None and not self.tls and not is_loopback(self.host)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the engine starts with. `workers` None: one for each core."""

    listeners: tuple[Listener, ...]
    workers: int | None
    connections_max: int
    calls_max: int
    head_timeout_ms: int
    idle_timeout_ms: int
    body_idle_timeout_ms: int
    spool_bytes_max: int
    resolver: Resolver
    consent: ConsentPages | None = None
    metrics: str | None = None
    """Where Prometheus collects, as `address:port`."""
    cache: CacheBounds = CacheBounds()
    shared: SharedStore | None = None
    """Where several gateways count together."""

    def weaknesses(self) -> list[Weakness]:
        """What here lowers the guard."""
        if self.shared is None or not self.shared.is_plain:
            return []
        what = "counts and the password travel without TLS; who is on the path can change them"
        return [Weakness("gateway.shared", what)]


def load_settings(path: Path) -> Settings:
    """Read the `gateway` section of `tidegate.yaml`, or of the one in a folder.

    Raises:
        ConfigErrors: the file or the section is wrong, or a file it names is not there.
    """
    files, errors = read_files(path)
    if not files:
        raise ConfigErrors(errors)
    first = files[0]
    errors = [error for error in errors if error.file == first.source.file]
    entry = first.entries.gateway
    errors += _missing_files(first, entry)
    if errors:
        raise ConfigErrors(errors)
    return Settings(
        listeners=tuple(
            _listener(number, one, first.folder) for number, one in enumerate(entry.listen)
        ),
        workers=entry.workers,
        connections_max=entry.connections_max,
        calls_max=entry.calls_max,
        head_timeout_ms=entry.head_timeout,
        idle_timeout_ms=entry.idle_timeout,
        body_idle_timeout_ms=entry.body_idle_timeout,
        spool_bytes_max=entry.spool_max,
        resolver=Resolver(
            servers=tuple(entry.resolver.servers),
            hosts=tuple((name, tuple(known)) for name, known in entry.resolver.hosts.items()),
            timeout_ms=entry.resolver.timeout,
        ),
        consent=_consent(entry, first.folder),
        metrics=entry.metrics.bind if entry.metrics else None,
        cache=CacheBounds(
            entry.cache.memory,
            entry.cache.per_client,
            entry.cache.answer,
            disk_bytes=entry.cache.disk,
            folder=first.folder / entry.cache.folder if entry.cache.folder else None,
        ),
        shared=_shared(entry.shared, first.folder),
    )


def _shared(entry: SharedEntry | None, folder: Path) -> SharedStore | None:
    if entry is None:
        return None
    parts = urlsplit(entry.valkey)
    password = entry.password
    return SharedStore(
        nodes=entry.nodes,
        node=entry.node,
        prefix=entry.prefix,
        socket=unquote(parts.path) if parts.scheme == "unix" else None,
        host=parts.hostname or "",
        port=parts.port or _STORE_PORT,
        tls=parts.scheme == "rediss",
        ca=folder / entry.ca if entry.ca else None,
        user=entry.user,
        password_env=password.env if password else None,
        password_file=folder / password.file if password and password.file else None,
        password_openbao=password.openbao if password else None,
        cache_client_bytes=entry.cache,
    )


def _consent(entry: GatewayEntry, folder: Path) -> ConsentPages | None:
    pages = entry.consent
    if pages is None:
        return None
    tls = pages.tls
    return ConsentPages(
        pages.public_url,
        pages.bind,
        certificate=folder / tls.certificate if tls else None,
        key=folder / tls.key if tls else None,
    )


def _listener(number: int, entry: ListenEntry, folder: Path) -> Listener:
    if entry.tls is None:
        return Listener(f"http-{number}", entry.bind)
    return Listener(
        f"https-{number}",
        entry.bind,
        certificate=folder / entry.tls.certificate,
        key=folder / entry.tls.key,
        client_ca=folder / entry.tls.client_ca if entry.tls.client_ca else None,
        client_crl=folder / entry.tls.client_crl if entry.tls.client_crl else None,
    )


def _missing_files(first: DeclaredFile, entry: GatewayEntry) -> list[ConfigError]:
    named: list[tuple[tuple[str | int, ...], str]] = [
        (("gateway", "listen", number, "tls", key), name)
        for number, listen in enumerate(entry.listen)
        if listen.tls is not None
        for key, name in listen.tls.model_dump(exclude_none=True).items()
    ]
    if entry.consent is not None and entry.consent.tls is not None:
        named += [
            (("gateway", "consent", "tls", key), name)
            for key, name in entry.consent.tls.model_dump().items()
        ]
    if entry.shared is not None:
        if entry.shared.ca is not None:
            named.append((("gateway", "shared", "ca"), entry.shared.ca))
        password = entry.shared.password
        if password is not None and password.file is not None:
            named.append((("gateway", "shared", "password", "file"), password.file))
    return [
        first.source.error(path, "this file is not there or cannot be read")
        for path, name in named
        if not (first.folder / name).is_file()
    ]
