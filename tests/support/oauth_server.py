"""A real OAuth server (oidc-provider), with clients and lifetimes of a test's own."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from support.canaries import may_hold
from support.certificates import Issued, leaf, private_pem
from support.servers import accepts, free_port, program, run_server

SCRIPT = Path(__file__).parent / "oidc" / "server.mjs"
CLIENT_ID = "tidegate"
CLIENT_SECRET = "secret of a client: with +/&% and more"


@dataclass(frozen=True)
class OAuthServer:
    """It runs; `consent` is what a person would give in a browser."""

    url: str
    root: Issued
    client: httpx.Client

    @property
    def token_url(self) -> str:
        return f"{self.url}/token"

    def consent(self, client_id: str = CLIENT_ID) -> str:
        """Mint a refresh token."""
        answer = self.client.get(f"{self.url}/test/consent", params={"client": client_id})
        return answer.raise_for_status().json()["refresh_token"]

    def withdraw(self) -> None:
        """Forget every consent and token."""
        self.client.get(f"{self.url}/test/withdraw").raise_for_status()

    def seen(self) -> dict[str, int]:
        """How many token requests came, and how many were granted."""
        return self.client.get(f"{self.url}/test/seen").raise_for_status().json()


@contextmanager
def oauth_server(
    folder: Path,
    root: Issued,
    *,
    lifetime_s: int = 600,
    clients: Sequence[Mapping[str, object]] = (),
    nonces: bool = False,
    client_root: Issued | None = None,
) -> Iterator[OAuthServer]:
    """Run one, certified by `root`; `clients` are known to it beside its own.

    `nonces`: it wants one of its own in every proof. With `client_root` it asks for certificates.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    certificate = leaf(root, "127.0.0.1")
    methods = {"basic": "client_secret_basic", "post": "client_secret_post"}
    known: list[Mapping[str, object]] = [
        {
            "client_id": CLIENT_ID if way == "basic" else f"{CLIENT_ID}-{way}",
            "client_secret": CLIENT_SECRET,
            "token_endpoint_auth_method": method,
            "grant_types": ["client_credentials", "refresh_token", "authorization_code"],
            "response_types": ["code"],
            "redirect_uris": ["https://127.0.0.1/callback"],
            "scope": "openid offline_access api",
        }
        for way, method in methods.items()
    ]
    config = {
        "port": port,
        "certificate": certificate.pem,
        "key": private_pem(certificate).decode(),
        "clients": [*known, *clients],
        "lifetime": lifetime_s,
        "nonces": nonces,
        "clientRoot": client_root and client_root.pem,
    }
    file = may_hold(folder / "config.json")
    file.write_text(json.dumps(config))
    command = [program("node", package="nodejs"), str(SCRIPT), str(file)]
    with (
        run_server(command, folder=folder, ready=accepts(("127.0.0.1", port))),
        httpx.Client(
            verify=ssl.create_default_context(cadata=root.pem), trust_env=False, timeout=20
        ) as client,
    ):
        yield OAuthServer(f"https://127.0.0.1:{port}", root, client)
