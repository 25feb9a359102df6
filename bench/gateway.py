"""Tidegate as its user runs it: a `tidegate.yaml`, `apply`, `connect`, `token create`, `up`."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.provider import PROVIDER_KEY, Provider
from bench.stage import BenchError, Running, Stage, pinned
from bench.target import Target
from bench.templates import fill

READY_WITHIN_S: Final = 30.0
RECORDED_WITHIN_S: Final = 120.0

_HERE: Final = Path(__file__).parent
_TIDEGATE: Final = Path(sys.executable).with_name("tidegate")
_POLL_S: Final = 0.002
_AGREEMENT: Final = """
name: acme-items
kind: dpa
provider: items
clients: all
parties: [Acme GmbH, Items Ltd]
role: processor
categories: [contact, payment]
subjects: [customer]
purposes: [sales]
regions: [eu]
retention: ten years
breach_contact: privacy@items.test
document: signed.pdf
from: 2026-01-01
until: 2099-01-01
"""


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway's folder: what it declares, its state, and the token that its consumer shows."""

    stage: Stage
    folder: Path
    port: int
    token: str

    @classmethod
    def prepare(
        cls,
        stage: Stage,
        provider: Provider,
        *,
        bulk_port: int | None = None,
        items: str = "",
        bulk: str = "",
        limit: str = "",
        protection: str = "",
    ) -> Gateway:
        """Declare it, connect the client's account and make the consumer's token.

        `items` and `bulk` are further keys of these providers, each a line of YAML; `limit` is one that holds
        for the client, the consumer and the grant (`100/s`). With policies for `PostPerson` (`protection`, a list
        in YAML) the consumer may post, and there is the agreement that personal data needs.
        """
        folder = stage.folder / f"tidegate-{stage.free_port()}"
        folder.mkdir()
        port = stage.free_port()
        fill(
            _HERE / "tidegate.yaml",
            folder / "tidegate.yaml",
            PORT=port,
            PROVIDER_NAME=provider.name,
            PROVIDER_PORT=provider.tls_port,
            BULK_PORT=bulk_port or provider.tls_port,
            ITEMS=items,
            BULK=bulk,
            LIMIT=f", limit: {limit}" if limit else "",
            POSTS=", PostItem, PostPerson" if protection else "",
            PROTECTION=f"protection:\n{protection}" if protection else "",
            AUTHORITY=provider.certificate.authority,
        )
        gateway = cls(stage, folder, port, token="")
        gateway.run("apply")
        for name in ("items", "bulk"):
            gateway.run("connect", name, "--client", "acme", given=PROVIDER_KEY)
        if protection:
            (folder / "signed.pdf").write_bytes(b"as signed")
            (folder / "agreement.yaml").write_text(_AGREEMENT)
            gateway.run("agreements", "add", "agreement.yaml")
        token = gateway.run("token", "create", "shop").strip()
        return cls(stage, folder, port, token)

    def start(self) -> Running:
        """Run `tidegate up` on the gateway's core; returns when it says that it is ready."""
        running = self.stage.start(
            "tidegate",
            [_TIDEGATE, "up", self.folder / "tidegate.yaml"],
            core=self.stage.cores.gate,
            env=self._environment(),
        )
        self._wait_until_ready(running)
        return running

    def target(self, running: Running, path: str = "/items/v1/items/42") -> Target:
        """What to call while it runs."""
        headers = {"Authorization": f"Bearer {self.token}"}
        return Target(
            "tidegate",
            self.port,
            path,
            headers=headers,
            refused_path="/items/v1/other/42",
            running=running,
        )

    def records(self) -> int:
        """How many calls are on record."""
        usage = json.loads(self.run("usage", "--since", "1d", "--json"))
        if usage["gaps"]:
            raise BenchError(f"records are missing: {usage['gaps']}")
        return sum(row["calls"] for row in usage["usage"])

    def wait_for_records(self, at_least: int) -> int:
        """Wait until so many calls are on record."""
        end = time.monotonic() + RECORDED_WITHIN_S
        while (count := self.records()) < at_least:
            if time.monotonic() > end:
                raise BenchError(f"only {count} of {at_least} calls are on record")
            time.sleep(0.2)
        return count

    def run(self, *words: str, given: str = "") -> str:
        """Run a `tidegate` command and return what it printed."""
        done = subprocess.run(
            pinned(self.stage.cores.load, [_TIDEGATE, *words]),
            input=given,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={**os.environ, **self._environment()},
            check=False,
            timeout=60,
        )
        if done.returncode != 0:
            raise BenchError(f"`tidegate {words[0]}` failed:\n{done.stderr}{done.stdout}")
        return done.stdout

    def _environment(self) -> dict[str, str]:
        """A home of its own: the bench never touches the state or the key of whoever runs it."""
        user = self.folder / "user"
        return {
            "TIDEGATE_HOME": str(self.folder / "state"),
            "HOME": str(user),
            "XDG_CONFIG_HOME": str(user / ".config"),
            "XDG_DATA_HOME": str(user / ".local" / "share"),
        }

    def _wait_until_ready(self, running: Running) -> None:
        end = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < end:
            running.expect_alive()
            with suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1)
                connection.request("GET", "/-/ready")
                if connection.getresponse().status == 200:
                    return
            time.sleep(_POLL_S)
        raise BenchError(f"`tidegate up` is not ready after {READY_WITHIN_S:.0f} s")
