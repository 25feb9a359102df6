"""A gateway with consent pages, and a real OAuth server whose people consent on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx

from support.certificates import Issued
from support.oauth_server import CLIENT_SECRET, OAuthServer
from support.running import Running, running
from support.servers import free_port
from support.serving import Seen
from tidegate.app import load_declaration
from tidegate.credentials import Consents
from tidegate.domain.connection import Connection
from tidegate.domain.secret import Secret

APP = "tidegate-app"
FIELDS = {"client_id": APP, "client_secret": CLIENT_SECRET}


def app_client(*redirect_uris: str, client_id: str = APP, **more: object) -> dict[str, object]:
    """The operator's own app, as it is registered at the server."""
    made: dict[str, object] = {
        "client_id": client_id,
        "client_secret": CLIENT_SECRET,
        "token_endpoint_auth_method": "client_secret_basic",
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "redirect_uris": list(redirect_uris),
        "application_type": "native",
        "scope": "openid offline_access api",
    } | more
    return {name: value for name, value in made.items() if value is not None}


@dataclass(frozen=True)
class Site:
    """A running gateway, its pages, and an application that calls through it."""

    started: Running
    pages: str
    api: httpx.Client

    def link(
        self,
        provider: str = "crm",
        fields: Mapping[str, str] = FIELDS,
        *,
        name: str = "default",
        expires: timedelta = timedelta(hours=1),
    ) -> str:
        """What `tidegate connect --link` makes."""
        state = self.started.state
        with state.calling_out() as engine:
            consents = Consents(
                state.store,
                state.vault,
                engine,
                lambda: load_declaration(self.started.file),
                self.pages,
            )
            sealed = {field: Secret(value) for field, value in fields.items()}
            asked = consents.ask(provider, "acme", name, sealed, {}, expires=expires)
        return f"{self.pages}/connect/{asked.link.reveal().decode()}"

    def connections(self) -> dict[str, Connection]:
        return {one.name: one for one in self.started.state.store.connections.all()}

    def code(self, provider: str = "crm") -> str:
        answer = self.api.get(f"/{provider}/things")
        return "ok" if answer.status_code == 200 else answer.json()["code"]


def declared_provider(api: Seen, root: Issued, folder: Path, oauth2: str) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ca.pem").write_text(root.pem)
    return f"""
    title: CRM & Co
    origin: {api.origin}
    auth: {{oauth2: {{{oauth2}}}}}
    operations: ["GET /things"]
    allow_private: [127.0.0.0/8]
    tls: {{ca: {folder}/ca.pem}}
"""


def code_grant(server: OAuthServer, more: str = "account: id_token.sub") -> str:
    return (
        f'grant: authorization_code, token_url: "{server.token_url}", issuer: "{server.url}", '
        f'authorize_url: "{server.url}/auth", iss: true, scopes: [openid, offline_access, api], '
        f"authorize_parameters: {{prompt: consent}}" + (f", {more}" if more else "")
    )


@contextmanager
def site(
    folder: Path, port: int, providers: Mapping[str, str], *, client: str = "Acme GmbH"
) -> Iterator[Site]:
    """Run a gateway with consent pages on this port."""
    pages = f"http://127.0.0.1:{port}"
    listed = "".join(f"  {name}:{text}" for name, text in providers.items())
    grants = "".join(
        f'  - {{consumer: app, provider: {name}, operations: ["*"]}}\n' for name in providers
    )
    declared = f"""
version: 1
gateway:
  listen: [{{bind: "127.0.0.1:0"}}]
  consent: {{public_url: "{pages}", bind: "127.0.0.1:{port}"}}
clients: {{acme: {{name: {client!r}}}}}
consumers: {{app: {{clients: [acme]}}}}
providers:
{listed}
grants:
{grants}"""
    with running(folder / "home", declared, {}) as started:
        token = started.token("app")
        with httpx.Client(
            base_url=started.url, headers={"Tidegate-Token": token}, trust_env=False, timeout=20
        ) as api:
            yield Site(started, pages, api)


__all__ = [
    "APP",
    "FIELDS",
    "Site",
    "app_client",
    "code_grant",
    "declared_provider",
    "free_port",
    "site",
]
