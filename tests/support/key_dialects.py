"""How providers behave whose keys are replaced: paths, forms, pages, limits, and each one's trap.

Written after the sources that the presets name. A dialect is handed to the sandbox's `KeyServer`.
"""

from __future__ import annotations

import base64
import json
import secrets
import time
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from support.keys import rsa_key
from tidegate.sandbox import IssuedKey, KeyServer, LoopbackRequest

Answer = tuple[int, Any]
NO: Answer = (401, {"error": "unauthorized"})
GONE: Answer = (404, {"error": "not_found"})


def public(keys: KeyServer, digits: int) -> str:
    """An id in few different digits: a credential's field that may be told is no canary."""
    return f"{len(keys.keys) + 1:b}".zfill(digits)


def moment(at: float | None) -> str | None:
    return None if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"


def bearer(request: LoopbackRequest) -> str:
    return request.headers.get("authorization", "").removeprefix("Bearer ")


def basic(request: LoopbackRequest) -> tuple[str, str]:
    text = request.headers.get("authorization", "").removeprefix("Basic ")
    user, _, password = base64.b64decode(text or "Og==").decode().partition(":")
    return user, password


def form(request: LoopbackRequest) -> dict[str, str]:
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    return dict(parse_qsl(request.body.decode()))


def end(keys: KeyServer, key_id: str) -> bool:
    found = keys.keys.get(key_id)
    if found is None or found.deleted_at is not None:
        return False
    found.deleted_at = time.time()
    return True


def used(keys: KeyServer, value: str) -> IssuedKey | None:
    key = keys.valid(value)
    if key is not None:
        key.last_used = time.time()
    return key


class SendGrid:
    """At most 100 keys; a key shows its id."""

    def make(self, keys: KeyServer, name: str) -> IssuedKey:
        key_id = secrets.token_urlsafe(16)
        value = f"SG.{key_id}.{secrets.token_urlsafe(32)}"
        return keys.make(name, key_id=key_id, value=value)

    def answer(self, keys: KeyServer, request: LoopbackRequest) -> Answer:
        path = request.path.removeprefix("/v3")
        if path == "/scopes":
            return (200, {"scopes": ["mail.send"]}) if used(keys, bearer(request)) else NO
        if bearer(request) != keys.manager:
            return NO
        if (request.method, path) == ("POST", "/api_keys"):
            said = json.loads(request.body)
            assert said["scopes"] == ["mail.send"]
            if len(keys.alive()) >= 100:
                return 403, {"errors": [{"message": "at most 100"}]}
            made = self.make(keys, said["name"])
            return 201, {"api_key": made.value, "api_key_id": made.id, "name": made.name}
        if request.method == "GET":
            shown = [{"api_key_id": key.id, "name": key.name} for key in keys.alive()]
            return 200, {"result": shown}
        return (204, None) if end(keys, path.removeprefix("/api_keys/")) else GONE


@dataclass
class Twilio:
    """Forms; pages that are addresses, here of another host, as a hostile answer might say."""

    page: int = 2

    def make(self, keys: KeyServer, name: str) -> IssuedKey:
        return keys.make(name, key_id=f"SK{public(keys, 32)}", value=secrets.token_hex(16))

    def answer(self, keys: KeyServer, request: LoopbackRequest) -> Answer:
        user, password = basic(request)
        prefix = "/2010-04-01/Accounts/AC1/"
        path = request.path.removeprefix(prefix)
        if path == "Messages.json":
            key = used(keys, password)
            return (200, {"messages": []}) if key and key.id == user else NO
        if (user, password) != ("AC1", keys.manager):
            return NO
        if (request.method, path) == ("POST", "Keys.json"):
            made = self.make(keys, form(request)["FriendlyName"])
            said = {"sid": made.id, "secret": made.value, "friendly_name": made.name}
            return 201, said
        if (request.method, path) == ("GET", "Keys.json"):
            number = int(request.query.get("Page", "0"))
            alive = keys.alive()
            shown = alive[number * self.page : (number + 1) * self.page]
            more = len(alive) > (number + 1) * self.page
            address = f"https://thief.example{prefix}Keys.json?PageSize=2&Page={number + 1}"
            items = [
                {"sid": key.id, "friendly_name": key.name, "date_created": "Mon, 01 Jun 2026 10:00:00 +0000"}
                for key in shown
            ]  # fmt: skip
            return 200, {"keys": items, "next_page_uri": address if more else None}
        key_id = path.removeprefix("Keys/").removesuffix(".json")
        return (204, None) if end(keys, key_id) else GONE


class Mailgun:
    """HTTP Basic with a fixed user, a form, and keys whose id nothing else shows."""

    def make(self, keys: KeyServer, name: str) -> IssuedKey:
        return keys.make(name, value=f"{secrets.token_hex(16)}-{secrets.token_hex(4)}")

    def answer(self, keys: KeyServer, request: LoopbackRequest) -> Answer:
        user, password = basic(request)
        if request.path == "/v4/domains":
            return (200, {"items": []}) if user == "api" and used(keys, password) else NO
        if (user, password) != ("api", keys.manager):
            return NO
        if request.method == "POST":
            said = form(request)
            assert said["role"] == "basic"
            made = self.make(keys, said["description"])
            key = {"id": made.id, "description": made.name, "secret": made.value}
            return 200, {"message": "great success", "key": key}
        if request.method == "GET":
            items = [
                {"id": key.id, "description": key.name, "created_at": moment(key.created_at)}
                for key in keys.alive()
            ]
            return 200, {"total_count": len(items), "items": items}
        return (200, {"message": "key deleted"}) if end(keys, request.path[9:]) else GONE


class Datadog:
    """Numbered pages of at most 100, whatever is asked for; a list that shows the last four."""

    def make(self, keys: KeyServer, name: str) -> IssuedKey:
        return keys.make(name, value=secrets.token_hex(16))

    def answer(self, keys: KeyServer, request: LoopbackRequest) -> Answer:
        key = request.headers.get("dd-api-key", "")
        if request.path == "/api/v1/validate":
            return (200, {"valid": True}) if used(keys, key) else (403, {"errors": ["Forbidden"]})
        if key != keys.manager or request.headers.get("dd-application-key") != "app-admin":
            return 403, {"errors": ["Forbidden"]}
        if request.method == "POST":
            data = json.loads(request.body)["data"]
            assert data["type"] == "api_keys"
            return 201, {
                "data": self._shown(self.make(keys, data["attributes"]["name"]), whole=True)
            }
        if request.method == "GET":
            size = min(int(request.query.get("page[size]", "10")), 100)
            first = int(request.query.get("page[number]", "0")) * size
            return 200, {"data": [self._shown(one) for one in keys.alive()[first : first + size]]}
        return (204, None) if end(keys, request.path.rpartition("/")[2]) else GONE

    def _shown(self, key: IssuedKey, *, whole: bool = False) -> dict[str, Any]:
        attributes = {"name": key.name, "created_at": moment(key.created_at)}
        attributes["date_last_used"] = moment(key.last_used)
        attributes |= {"key": key.value} if whole else {"last4": key.value[-4:]}
        return {"type": "api_keys", "id": key.id, "attributes": attributes}


class Cloudflare:
    """Numbered pages; a token whose value may also be rolled, which ends the one before at once."""

    def make(self, keys: KeyServer, name: str) -> IssuedKey:
        return keys.make(name, key_id=secrets.token_hex(16))

    def answer(self, keys: KeyServer, request: LoopbackRequest) -> Answer:
        path = request.path.removeprefix("/client/v4/user/tokens")
        if path == "/verify":
            key = used(keys, bearer(request))
            return (200, self._of({"id": key.id, "status": "active"})) if key else NO
        if bearer(request) != keys.manager:
            return NO
        if request.method == "POST":
            said = json.loads(request.body)
            assert said["policies"][0]["resources"] == {"com.cloudflare.api.account.1": "*"}
            made = self.make(keys, said["name"])
            return 200, self._of({"id": made.id, "name": made.name, "value": made.value})
        if request.method == "PUT":
            before = keys.keys[path.split("/")[1]]
            before.value = f"sk-{secrets.token_hex(20)}"
            return 200, self._of(before.value)
        if request.method == "GET":
            size, number = int(request.query["per_page"]), int(request.query["page"])
            shown = [
                {
                    "id": key.id,
                    "name": key.name,
                    "issued_on": moment(key.created_at),
                    "last_used_on": moment(key.last_used),
                }
                for key in keys.alive()
            ]
            return 200, self._of(shown[(number - 1) * size : number * size])
        return (200, self._of({})) if end(keys, path[1:]) else GONE

    def _of(self, result: Any) -> dict[str, Any]:
        return {"success": True, "errors": [], "messages": [], "result": result}


@dataclass
class GitLab:
    """Rotation in place; who rotates with a token that is gone ends the newest of its family."""

    expires: dict[str, date] = field(default_factory=dict)

    def make(self, keys: KeyServer, name: str) -> IssuedKey:
        return keys.make(
            name, key_id=str(len(keys.keys) + 1), value=f"glpat-{secrets.token_hex(10)}"
        )

    def answer(self, keys: KeyServer, request: LoopbackRequest) -> Answer:
        shown = request.headers.get("private-token", "")
        key = used(keys, shown)
        path = request.path.removeprefix("/api/v4")
        if path == "/personal_access_tokens/self/rotate":
            if key is None:
                family = any(one.value == shown for one in keys.keys.values())
                for one in keys.alive() if family else ():
                    one.deleted_at = time.time()
                return NO
            key.deleted_at = time.time()
            made = self.make(keys, key.name)
            asked = request.query.get("expires_at")
            week = datetime.now(UTC).date() + timedelta(days=7)
            self.expires[made.id] = date.fromisoformat(asked) if asked else week
            return 200, {"id": int(made.id), "name": made.name, "token": made.value}
        return (200, {"id": int(key.id)}) if key and path == "/personal_access_tokens/self" else NO


@dataclass
class Okta:
    """Two secrets an app, without names; one that is active is not deleted."""

    inactive: set[str] = field(default_factory=set)
    refused_deletions: int = 0

    def make(self, keys: KeyServer, name: str) -> IssuedKey:
        return keys.make(key_id=f"ocs{secrets.token_hex(8)}")

    def answer(self, keys: KeyServer, request: LoopbackRequest) -> Answer:
        if request.path == "/oauth2/v1/introspect":
            user, password = basic(request)
            key = used(keys, password)
            good = user == "0oa1" and key is not None and key.id not in self.inactive
            assert form(request)["token"]
            return (200, {"active": False}) if good else (401, {"error": "invalid_client"})
        if request.headers.get("authorization") != f"SSWS {keys.manager}":
            return NO
        path = request.path.removeprefix("/api/v1/apps/0oa1/credentials/secrets")
        if request.method == "GET":
            return 200, [
                {"id": key.id, "created": moment(key.created_at), "secret_hash": "x"}
                for key in keys.alive()
            ]
        if (request.method, path) == ("POST", ""):
            if len(keys.alive()) >= 2:
                return 400, {"errorCode": "E0000001"}
            made = self.make(keys, "")
            return 201, {"id": made.id, "client_secret": made.value, "status": "ACTIVE"}
        return self._end(keys, path)

    def _end(self, keys: KeyServer, path: str) -> Answer:
        key_id = path.split("/")[1]
        if path.endswith("/lifecycle/deactivate"):
            self.inactive.add(key_id)
            return 200, {"id": key_id, "status": "INACTIVE"}
        if key_id not in self.inactive:
            self.refused_deletions += 1
            return 403, {"errorCode": "E0000006"}
        return (204, None) if end(keys, key_id) else GONE


@dataclass
class Google:
    """Keys without names that are key files; tokens for assertions signed with one of them."""

    account: str = "m@p.iam"
    admin: str = "r@p.iam"
    pem: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    disabled: set[str] = field(default_factory=set)

    def make(self, keys: KeyServer, name: str) -> IssuedKey:
        pem, _ = rsa_key()
        key = keys.make(key_id=public(keys, 40), value=pem)
        self.pem[key.id] = pem
        return key

    def answer(self, keys: KeyServer, request: LoopbackRequest) -> Answer:
        if request.path == "/token":
            return self._token(keys, request)
        return self._manage(keys, request) if self.tokens.get(bearer(request)) == self.admin else NO

    def _manage(self, keys: KeyServer, request: LoopbackRequest) -> Answer:
        prefix = f"/v1/projects/-/serviceAccounts/{self.account}/keys"
        path = unquote(request.path)
        assert path.startswith(prefix), path
        rest = path.removeprefix(prefix)
        if (request.method, rest) == ("POST", ""):
            if len(keys.alive()) >= 10:
                return 429, {"error": {"status": "RESOURCE_EXHAUSTED"}}
            return 200, self._file(self.make(keys, ""))
        if request.method == "GET":
            assert request.query["keyTypes"] == "USER_MANAGED"
            shown = [
                {"name": self._name(key), "validAfterTime": moment(key.created_at)}
                for key in keys.alive()
            ]
            return 200, {"keys": shown} if shown else {}
        if rest.endswith(":disable"):
            self.disabled.add(rest[1:].removesuffix(":disable"))
            return 200, {}
        return (200, {}) if end(keys, rest[1:]) else GONE

    def _token(self, keys: KeyServer, request: LoopbackRequest) -> Answer:
        assertion = parse_qs(request.body.decode())["assertion"][0]
        key_id = jwt.get_unverified_header(assertion)["kid"]
        key = keys.keys.get(key_id)
        pem = self.pem.get(key_id)
        if pem is None or key_id in self.disabled or (key and key.deleted_at is not None):
            return 400, {"error": "invalid_grant"}
        public = load_pem_private_key(pem.encode(), None).public_key()
        said = jwt.decode(assertion, public, ["RS256"], audience=f"{keys.origin}/token")
        assert said["scope"] == "https://www.googleapis.com/auth/cloud-platform"
        token = f"ya29.{secrets.token_hex(20)}"
        self.tokens[token] = said["iss"]
        return 200, {"access_token": token, "token_type": "Bearer", "expires_in": 3600}

    def _name(self, key: IssuedKey) -> str:
        return f"projects/shop/serviceAccounts/{self.account}/keys/{key.id}"

    def _file(self, key: IssuedKey) -> dict[str, Any]:
        file = {"client_email": self.account, "private_key": key.value, "private_key_id": key.id}
        encoded = base64.b64encode(json.dumps(file).encode()).decode()
        return {"name": self._name(key), "privateKeyData": encoded}
