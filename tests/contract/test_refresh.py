"""Tokens follow one another; whatever an endpoint answers or does not, none is used twice."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from ssl import SSLSocket
from urllib.parse import parse_qs

import pytest
from support.certificates import authority, leaf, server_context
from support.serving import serving

from tidegate.app.vaulting import trust_grants
from tidegate.credentials import Leases, Refresher, Renewed
from tidegate.credentials.refresh import TURN, due_at, is_due
from tidegate.domain.connection import Connection
from tidegate.domain.declaration import Provider, TlsPolicy
from tidegate.domain.oauth import TokenGrant
from tidegate.domain.secret import Secret
from tidegate.engine import Engine, EngineConfig
from tidegate.store import IssuedToken, Store
from tidegate.store.schema import issued_tokens
from tidegate.vault import Vault, VaultRefused

ROOT = authority("root")
NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)


@dataclass
class Endpoint:
    """A token endpoint that rotates: each refresh token is good once, and it counts."""

    url: str = ""
    asked: list[str] = field(default_factory=list)
    good: str = "rt-0"
    says: list[bytes] = field(default_factory=list)
    lifetime_s: int = 3_600
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, connection: SSLSocket, head: bytes) -> None:
        _, _, body = head.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        while len(body) < length:
            body += connection.recv(65_536)
        with self.lock:
            content = self._judge(parse_qs(body.decode())["refresh_token"][0])
        if content is None:
            return
        status = b"200 OK" if b"access_token" in content else b"400 Bad Request"
        connection.sendall(
            b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
            b"Connection: close\r\n\r\n%b" % (status, len(content), content)
        )
        connection.unwrap()

    def _judge(self, token: str) -> bytes | None:
        self.asked.append(token)
        if token != self.good:
            return b'{"error": "invalid_grant"}'
        if self.says:
            said = self.says.pop(0)
            if said == b"cut after use":
                self.good = f"rt-{len(self.asked)}"
            return None if said.startswith(b"cut") else said
        self.good = f"rt-{len(self.asked)}"
        issued = {
            "access_token": f"at-{len(self.asked)}",
            "expires_in": self.lifetime_s,
            "refresh_token": self.good,
        }
        return json.dumps(issued).encode()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    listener = socket.create_server(("127.0.0.1", 0))
    made = Endpoint(f"https://127.0.0.1:{listener.getsockname()[1]}/token")
    context = server_context([leaf(ROOT, "127.0.0.1")])

    def converse(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            head = b""
            while b"\r\n\r\n" not in head and (data := secured.recv(65_536)):
                head += data
            if head:
                made.answer(secured, head)

    with serving(listener, converse):
        yield made


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    config = EngineConfig(spool=tmp_path / "spool", workers=1, record=False)
    with Engine(config, Secret(os.urandom(32))) as started:
        yield started


def provider_of(token_url: str) -> Provider:
    return Provider(
        name="crm",
        title="CRM",
        origins=("https://api.crm.test",),
        attach=(),
        operations=(),
        allow_private=("127.0.0.0/8",),
        tls=TlsPolicy(ca_pem=ROOT.pem),
        token_grant=TokenGrant("refresh_token", token_url),
    )


def connected(vault: Vault, provider: Provider, version: int = 1) -> Connection:
    assert provider.token_grant is not None
    made = Connection(
        id="con_crm", client="acme", provider="crm", name="default", version=version,
        scheme=provider.token_grant.scheme, origins=provider.origins,
        fields=provider.token_grant.fields, created_at=NOW, rotated_at=NOW,
    )  # fmt: skip
    fields = {"client_id": "us", "client_secret": "s3cret", "refresh_token": "rt-0"}
    vault.seal(made, {name: Secret(value) for name, value in fields.items()})
    return made


@dataclass
class Clock:
    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Scene:
    """One connection of one provider, and who renews its tokens."""

    store: Store
    vault: Vault
    refresher: Refresher
    provider: Provider
    endpoint: Endpoint
    clock: Clock
    connection: Connection

    @property
    def grant(self) -> TokenGrant:
        assert self.provider.token_grant is not None
        return self.provider.token_grant

    def renew(self) -> Renewed:
        return self.refresher.renew(self.connection, self.provider)

    def token(self) -> IssuedToken:
        found = self.store.issued.get(self.connection.id)
        assert found is not None
        return found

    def later(self, **ahead: int) -> None:
        self.clock.now += timedelta(**ahead)

    def connect_anew(self) -> None:
        self.connection = connected(self.vault, self.provider, self.connection.version + 1)
        self.endpoint.good = "rt-0"


@pytest.fixture
def scene(store: Store, vault: Vault, engine: Engine, endpoint: Endpoint) -> Scene:
    clock = Clock()
    provider = provider_of(endpoint.url)
    refresher = Refresher(store, vault, engine, holder="test", clock=clock)
    connection = connected(vault, provider)
    return Scene(store, vault, refresher, provider, endpoint, clock, connection)


def test_tokens_follow_one_another(scene: Scene):
    for serial in (1, 2, 3):
        renewed = scene.renew()
        assert (renewed.asked, renewed.trouble) == (True, None)
        again = scene.renew()
        assert (again.asked, again.token) == (False, renewed.token)
        assert scene.token().serial == serial
        scene.later(seconds=scene.endpoint.lifetime_s)
    assert scene.endpoint.asked == ["rt-0", "rt-1", "rt-2"]
    sealed = scene.token().sealed
    assert sealed is not None
    fields = scene.vault.open_issued(scene.connection, 3, sealed)
    assert fields["access_token"].reveal() == b"at-3"


def test_a_token_is_asked_for_before_it_expires_and_not_at_once(scene: Scene):
    scene.renew()
    token = scene.token()
    assert token.expires_at is not None
    assert NOW + timedelta(minutes=40) < due_at(token) < token.expires_at - timedelta(minutes=5)
    assert due_at(token) == due_at(replace(token, fence=9))
    assert due_at(token) != due_at(replace(token, serial=2))


def test_a_consent_that_ends_unused_is_used_at_half_of_that_time(scene: Scene):
    scene.endpoint.lifetime_s = 300 * 24 * 3_600
    idle = replace(scene.grant, idle_s=60 * 24 * 3_600)
    scene.provider = replace(scene.provider, token_grant=idle)
    scene.renew()
    token = scene.token()
    assert due_at(token) > NOW + timedelta(days=200)
    assert (
        NOW + timedelta(days=15) < due_at(token, scene.provider.idle_s) <= NOW + timedelta(days=30)
    )
    scene.later(days=15)
    assert not scene.renew().asked
    scene.later(days=15)
    assert scene.renew().asked
    # Where nobody consented, nothing ends.
    alone = replace(idle, grant="client_credentials")
    assert replace(scene.provider, token_grant=alone).idle_s == 0


@pytest.mark.parametrize("kind", ["refresh_token", "authorization_code", "device_code"])
def test_a_restored_refresh_token_is_not_used_until_somebody_says_so(scene: Scene, kind: str):
    scene.renew()
    scene.provider = replace(scene.provider, token_grant=replace(scene.grant, grant=kind))
    scene.store.issued.suspect([scene.connection.id], NOW)
    scene.later(seconds=scene.endpoint.lifetime_s)
    renewed = scene.renew()
    # What was issued already serves on; only the refresh token may be used up.
    assert (renewed.asked, renewed.trouble) == (False, "stale_suspect")
    assert renewed.token == scene.token()
    assert scene.endpoint.asked == ["rt-0"]
    assert scene.store.issued.trust(scene.connection.id)
    assert scene.renew().trouble is None
    assert scene.endpoint.asked == ["rt-0", "rt-1"]


def test_a_consent_that_is_gone_is_asked_for_once(scene: Scene):
    scene.endpoint.good = "another"
    for _ in range(3):
        assert scene.renew().trouble == "invalid_grant"
        scene.later(hours=2)
    assert scene.endpoint.asked == ["rt-0"]
    assert scene.token().ended
    scene.connect_anew()
    assert scene.renew().trouble is None


def test_an_endpoint_that_is_away_is_asked_again_later_and_later(scene: Scene):
    scene.endpoint.says = [b'{"error": "temporarily_unavailable"}'] * 4
    pauses: list[float] = []
    for _ in range(4):
        scene.renew()
        token = scene.token()
        assert token.retry_at is not None
        assert not is_due(token, scene.clock.now)
        pauses.append((token.retry_at - scene.clock.now).total_seconds())
        scene.clock.now = token.retry_at
    assert pauses == [2, 4, 8, 16]
    assert scene.renew().trouble is None


def test_a_wrong_client_secret_does_not_end_the_consent(scene: Scene):
    scene.endpoint.says = [b'{"error": "invalid_client"}']
    assert scene.renew().trouble == "invalid_client"
    assert not scene.token().ended
    scene.later(minutes=10)
    assert scene.renew().trouble is None


def test_however_often_our_client_is_not_known_the_grant_is_not_burned(scene: Scene):
    """`invalid_client` is ours to mend: for a week of it, the same refresh token is good after."""
    assert scene.renew().trouble is None
    first = scene.token()
    scene.endpoint.says = [b'{"error": "invalid_client"}'] * 20
    for _ in range(20):
        scene.later(hours=9)
        renewed = scene.renew()
        assert (renewed.asked, renewed.trouble) == (True, "invalid_client")
        token = scene.token()
        assert (token.ended, token.serial, token.sealed) == (False, first.serial, first.sealed)
    assert set(scene.endpoint.asked) == {"rt-0", "rt-1"}
    scene.later(hours=9)
    assert scene.renew().trouble is None
    assert scene.token().serial == first.serial + 1


@dataclass
class Taker:
    """Takes leases as the engine does."""

    held: dict[str, tuple[bytes, datetime]] = field(default_factory=dict)
    ended: bool = False

    def lease(
        self,
        connection: str,
        version: int,
        origins: Sequence[str],
        fields: Mapping[str, Secret],
        until: datetime,
        *,
        serial: int = 0,
    ) -> None:
        self.held[connection] = fields["access_token"].reveal(), until

    def release(self, connection: str, *, ended: bool = False) -> None:
        self.held.pop(connection, None)
        self.ended = self.ended or ended


@pytest.mark.parametrize(
    "says",
    [b'{"error": "temporarily_unavailable"}', b"<html>down</html>", b'{"error": "invalid_client"}'],
)
def test_a_valid_token_is_served_while_its_endpoint_is_away(scene: Scene, says: bytes):
    taker = Taker()
    leases = Leases(scene.store, scene.vault, taker)
    scene.renew()
    leases.renew(scene.clock.now)
    ends = NOW + timedelta(hours=1)
    assert taker.held == {"con_crm": (b"at-1", ends)}
    scene.endpoint.says = [says] * 100
    failed = 0
    while scene.clock.now < ends - timedelta(minutes=2):
        scene.later(minutes=2)
        failed += scene.renew().asked
        leases.renew(scene.clock.now)
        assert taker.held == {"con_crm": (b"at-1", ends)}
    assert failed > 1
    # Past its end it is not served on, and the consent behind it is not given up.
    scene.later(minutes=2)
    leases.renew(scene.clock.now)
    assert (taker.held, taker.ended) == ({}, False)
    scene.endpoint.says = []
    scene.later(minutes=6)
    assert scene.renew().trouble is None
    leases.renew(scene.clock.now)
    assert taker.held["con_crm"][0] == f"at-{len(scene.endpoint.asked)}".encode()


def test_a_grant_from_a_backup_serves_and_is_not_used_before_somebody_trusts_it(scene: Scene):
    scene.renew()
    scene.store.issued.suspect([scene.connection.id], scene.clock.now)
    taker = Taker()
    leases = Leases(scene.store, scene.vault, taker)
    leases.renew(scene.clock.now)
    assert taker.held["con_crm"][0] == b"at-1"
    for _ in range(3):
        scene.later(hours=1)
        assert scene.renew().trouble == "stale_suspect"
    assert scene.endpoint.asked == ["rt-0"]
    (trusted,) = trust_grants(scene.store, "acme")
    assert trusted.id == scene.connection.id
    assert scene.renew().trouble is None
    assert scene.endpoint.asked == ["rt-0", "rt-1"]


def test_a_lost_answer_is_asked_for_once_more_and_a_no_then_ends_it(scene: Scene):
    scene.endpoint.says = [b"cut after use"]
    assert scene.renew().trouble is not None
    assert scene.token().asked_at == NOW
    for _ in range(3):
        scene.later(minutes=10)
        assert scene.renew().trouble == "invalid_grant"
    assert scene.endpoint.asked == ["rt-0", "rt-0"]


def test_one_who_was_too_slow_changes_nothing(scene: Scene):
    issued, one = scene.store.issued, scene.connection
    slow = issued.take(one, 0, holder="slow", now=NOW, until=NOW + TURN)
    assert slow == 1
    assert issued.take(one, 0, holder="another", now=NOW, until=NOW + TURN) is None
    scene.clock.now += TURN
    assert scene.renew().asked
    late = {"access_token": Secret("late")}
    assert not scene.vault.keep_issued(one, slow, 1, late, issued_at=NOW, expires_at=NOW + TURN)
    assert not issued.give_up(
        one.id, slow, trouble="late", retry_at=None, answered=True, ended=True
    )
    assert (scene.token().serial, scene.token().ended) == (1, False)


@pytest.mark.parametrize("field", ["payload", "wrapped_dek"])
def test_an_issued_token_that_was_altered_or_moved_does_not_open(scene: Scene, field: str):
    scene.renew()
    sealed = scene.token().sealed
    assert sealed is not None
    value = getattr(sealed, field)
    column = issued_tokens.c[field]
    for at in range(0, len(value), 7):
        bent = value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]
        with scene.store._database.writing() as database:
            database.execute(issued_tokens.update().values({column: bent}))
        altered = scene.token().sealed
        assert altered is not None
        with pytest.raises(VaultRefused):
            scene.vault.open_issued(scene.connection, 1, altered)
    with scene.store._database.writing() as database:
        database.execute(issued_tokens.update().values({column: value}))
    for other in (
        replace(scene.connection, client="globex"),
        replace(scene.connection, origins=("https://thief.test",)),
        replace(scene.connection, scheme="oauth2 https://thief.test/token"),
    ):
        with pytest.raises(VaultRefused):
            scene.vault.open_issued(other, 1, sealed)
    with pytest.raises(VaultRefused):
        scene.vault.open_issued(scene.connection, 2, sealed)
