"""Make the engine's configuration of what the file's `gateway` section says."""

from __future__ import annotations

import os
from pathlib import Path

from tidegate import catalog
from tidegate.domain.secret import Secret
from tidegate.engine import CacheBounds, EngineConfig, Listener, ListenerTls, Resolver


def engine_config(settings: catalog.Settings, spool: Path) -> EngineConfig:
    """Read the listeners' certificates and keys; the rest is taken over.

    Raises:
        OSError: a file cannot be read.
    """
    return EngineConfig(
        spool=spool,
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
        cache=CacheBounds(
            settings.cache.bytes, settings.cache.client_bytes, settings.cache.answer_bytes
        ),
    )


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
