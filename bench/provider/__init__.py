"""The provider that is called: nginx, TLS 1.3, HTTP/1.1 with keep-alive, 600 bytes of JSON."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.certificates import ORIGIN_NAME, OriginCertificate, issue
from bench.stage import Stage, program, wait_until_open
from bench.templates import fill

ANSWER_BYTES: Final = 600
PERSON_BYTES: Final = 2_048
PROVIDER_KEY: Final = "sk_bench_4eC39HqLyjWDarjtT1zdp7dc"
CREDENTIAL: Final = f"Bearer {PROVIDER_KEY}"


def _answer() -> bytes:
    item = {"id": 42, "object": "item", "currency": "eur", "amount": 1999, "paid": True}
    frame = json.dumps({**item, "description": ""})
    return json.dumps({**item, "description": "a" * (ANSWER_BYTES - len(frame))}).encode()


ANSWER: Final = _answer()


@dataclass(frozen=True, slots=True)
class Provider:
    """A running provider: the same answers on both ports."""

    tls_port: int
    plain_port: int
    certificate: OriginCertificate
    name: str = ORIGIN_NAME


def start(stage: Stage) -> Provider:
    """Start it on the load's core."""
    provider = Provider(stage.free_port(), stage.free_port(), issue(stage.folder))
    config = fill(
        Path(__file__).with_name("nginx.conf"),
        stage.folder / "provider.conf",
        FOLDER=stage.folder,
        USER=nginx_user(),
        CREDENTIAL=CREDENTIAL,
        TLS_PORT=provider.tls_port,
        PLAIN_PORT=provider.plain_port,
        CERTIFICATE=provider.certificate.certificate,
        KEY=provider.certificate.key,
        ANSWER=ANSWER.decode(),
        PERSON_BYTES=PERSON_BYTES,
    )
    running = stage.start(
        "provider", [program("nginx"), "-e", "stderr", "-c", config], core=stage.cores.load
    )
    wait_until_open(running, provider.tls_port)
    return provider


def nginx_user() -> str:
    """As root nginx would change to another user, who may not read the stage's folder."""
    return "user root;" if os.geteuid() == 0 else ""
