"""Make the engine's configuration of what the file's `gateway` section says."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from tidegate import catalog
from tidegate.app.home import Home
from tidegate.credentials.errors import CredentialRefused
from tidegate.credentials.references import parse_reference, read_openbao
from tidegate.domain.secret import Secret
from tidegate.engine import (
    CacheBounds,
    CacheDisk,
    EngineConfig,
    EngineError,
    Listener,
    ListenerTls,
    Resolver,
    SharedStore,
)


def engine_config(settings: catalog.Settings, home: Home) -> EngineConfig:
    """Read the listeners' certificates and keys; the rest is taken over.

    Raises:
        OSError: a file cannot be read.
        EngineError: the shared store's password is not where it should be.
    """
    return EngineConfig(
        spool=home.spool,
        listeners=tuple(read_listener(listener) for listener in settings.listeners),
        # The cores that this process may use: in a container, fewer than the machine has.
        workers=settings.workers or len(os.sched_getaffinity(0)),
        spool_bytes_max=settings.spool_bytes_max,
        head_timeout_ms=settings.head_timeout_ms,
        idle_timeout_ms=settings.idle_timeout_ms,
        body_idle_timeout_ms=settings.body_idle_timeout_ms,
        connections_max=settings.connections_max,
        calls_max=settings.calls_max,
        resolver=Resolver(
            servers=settings.resolver.servers,
            hosts=dict(settings.resolver.hosts),
            timeout_ms=settings.resolver.timeout_ms,
        ),
        cache=_cache(settings.cache, home),
        shared=_shared(settings.shared, home.spool) if settings.shared else None,
    )


def _cache(bounds: catalog.CacheBounds, home: Home) -> CacheBounds:
    disk = None
    if bounds.disk_bytes is not None:
        disk = CacheDisk(bounds.folder or home.cache, bounds.disk_bytes)
    return CacheBounds(bounds.bytes, bounds.client_bytes, bounds.answer_bytes, disk)


def _shared(store: catalog.SharedStore, spool: Path) -> SharedStore:
    return SharedStore(
        nodes=store.nodes,
        # The spool belongs to one engine at a time, so no two gateways are known by its place.
        node=store.node or f"{socket.gethostname()}:{spool.absolute()}",
        socket=store.socket,
        host=store.host,
        port=store.port,
        tls=store.tls,
        ca_pem=store.ca.read_text() if store.ca else None,
        prefix=store.prefix,
        user=store.user,
        password=_password(store),
        cache_client_bytes=store.cache_client_bytes,
    )


def _password(store: catalog.SharedStore) -> Secret | None:
    if store.password_env is not None:
        found = os.environ.get(store.password_env)
        if not found:
            raise EngineError(
                f"the shared store's password is to be in the environment variable "
                f"`{store.password_env}`, which is not set"
            )
        return Secret(found)
    if store.password_file is not None:
        return Secret(store.password_file.read_bytes().partition(b"\n")[0].rstrip(b"\r"))
    if store.password_openbao is None:
        return None
    try:
        reference = parse_reference(f"openbao:{store.password_openbao}")
        values = read_openbao(reference).values
    except CredentialRefused as refused:
        raise EngineError(f"the shared store's password: {refused}") from None
    if reference.field not in values:
        raise EngineError("the shared store's password: name its field, `MOUNT/PATH#FIELD`")
    return values[reference.field]


def read_listener(listener: catalog.Listener) -> Listener:
    """Read the files of a listener's TLS.

    Raises:
        OSError: one cannot be read.
    """
    if listener.certificate is None or listener.key is None:
        return Listener(listener.name, listener.bind)
    client_ca = listener.client_ca.read_text() if listener.client_ca else None
    tls = ListenerTls(
        certificate_pem=listener.certificate.read_text(),
        key_pem=Secret(listener.key.read_bytes()),
        client_ca_pem=client_ca,
        client_crl_pem=listener.client_crl.read_text() if listener.client_crl else None,
    )
    return Listener(listener.name, listener.bind, tls)
