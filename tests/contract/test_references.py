"""Credentials that stay at OpenBao: read there, leased with an end, taken up anew when they change."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from support.canaries import plant
from support.gate import home, origin
from support.openbao import OpenBao, openbao_server
from support.servers import wait_until

from tidegate.app import load_declaration, services
from tidegate.app.gateway import Gateway
from tidegate.cli import main
from tidegate.credentials import Connections, CredentialRefused, Leases, References, Rotator
from tidegate.credentials.references import READ_EVERY, SERVES_FOR, ReferenceAway, ReferenceGone
from tidegate.domain.attach import AttachBasic, AttachHeader
from tidegate.domain.connection import Connection
from tidegate.domain.declaration import Client, Declaration, Provider
from tidegate.domain.operation import Operation
from tidegate.domain.rotation import Rotation
from tidegate.domain.secret import Secret
from tidegate.store import Store
from tidegate.store.schema import connections as rows
from tidegate.vault import Vault

BEARER = (AttachHeader("Authorization", "token", prefix="Bearer "),)
ONE = Provider("api", "API", ("https://api.example.com",), BEARER, (Operation("get", "GET", "/"),))
TWO = replace(ONE, name="basic", attach=(AttachBasic("username", "password"),))
DECLARED = Declaration(clients=(Client("acme"), Client("globex")), providers=(ONE, TWO))
KEY = "sk-live-7f3b1c9d5e"
NEXT = "sk-live-0a2c4e6f8b"


@dataclass
class Taker:
    """Holds leases as the engine does."""

    held: dict[str, tuple[dict[str, bytes], tuple[str, ...], datetime]] = field(
        default_factory=dict
    )

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
        revealed = {name: secret.reveal() for name, secret in fields.items()}
        self.held[connection] = revealed, tuple(origins), until

    def release(self, connection: str, *, ended: bool = False) -> None:
        self.held.pop(connection, None)


@dataclass
class Scene:
    bao: OpenBao
    store: Store
    vault: Vault
    known: Connections
    references: References
    taker: Taker
    leases: Leases
    now: datetime

    def refer(self, reference: str, provider: str = "api", client: str = "acme") -> Connection:
        return self.known.refer(DECLARED, provider, client, "default", reference, {})

    def look(self, later: timedelta = READ_EVERY) -> None:
        self.now += later
        self.references.look()
        self.leases.renew(self.now)

    def leased(self, connection: Connection) -> Mapping[str, bytes] | None:
        found = self.taker.held.get(connection.id)
        return None if found is None else found[0]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    with openbao_server(tmp_path_factory.mktemp("openbao")) as running:
        yield running


@pytest.fixture
def bao(server: OpenBao, monkeypatch: pytest.MonkeyPatch) -> OpenBao:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    for secret in (KEY, NEXT):
        plant(secret)
    server.write("acme/mail", key=KEY, note="by the mail team")
    return server


@pytest.fixture
def scene(bao: OpenBao, store: Store, vault: Vault) -> Scene:
    references = References(store, vault, lambda: DECLARED, clock=lambda: made.now)
    taker = Taker()
    leases = Leases(store, vault, taker, references.held)
    known = Connections(store, vault)
    made = Scene(bao, store, vault, known, references, taker, leases, datetime.now(UTC))
    return made


def test_it_is_read_and_leased_for_its_origins_with_an_end(scene: Scene):
    one = scene.refer("openbao:secret/acme/mail#key")
    scene.look()
    fields, origins, until = scene.taker.held[one.id]
    assert (fields, origins) == ({"token": KEY.encode()}, ("https://api.example.com",))
    assert until == scene.now + SERVES_FOR


def test_nothing_of_it_is_in_the_store_but_where_it_is(scene: Scene):
    one = scene.refer("openbao:secret/acme/mail#key")
    held = scene.vault.open(one)
    assert [secret.reveal() for secret in held.values()] == [b"openbao:secret/acme/mail#key"]


def test_a_new_version_is_leased_as_soon_as_it_is_seen(scene: Scene):
    one = scene.refer("openbao:secret/acme/mail#key")
    scene.look()
    scene.bao.write("acme/mail", key=NEXT)
    scene.look(timedelta(seconds=1))
    assert scene.leased(one) == {"token": KEY.encode()}
    scene.look()
    assert scene.leased(one) == {"token": NEXT.encode()}


def test_an_outage_serves_what_is_leased_until_it_ends_and_no_longer(scene: Scene):
    one = scene.refer("openbao:secret/acme/mail#key")
    scene.look()
    until = scene.taker.held[one.id][2]
    with scene.bao.away():
        scene.look()
        scene.look(SERVES_FOR / 2)
        assert scene.leased(one) == {"token": KEY.encode()}
        assert scene.taker.held[one.id][2] == until
        scene.look(SERVES_FOR / 2)
        assert scene.leased(one) is None
    scene.look()
    assert scene.leased(one) == {"token": KEY.encode()}
    assert scene.taker.held[one.id][2] > until


def test_one_that_is_deleted_there_is_taken_back_at_once(scene: Scene):
    one = scene.refer("openbao:secret/acme/mail#key")
    scene.look()
    scene.bao.ask("DELETE", "secret/data/acme/mail")
    scene.look()
    assert scene.leased(one) is None
    scene.bao.write("acme/mail", key=NEXT)
    scene.look()
    assert scene.leased(one) == {"token": NEXT.encode()}


def test_a_next_version_that_could_not_stand_in_a_header_is_not_taken_up(scene: Scene):
    one = scene.refer("openbao:secret/acme/mail#key")
    scene.look()
    for wrong in (f"{NEXT}\r\nX-Evil: 1", "", 7):
        scene.bao.write("acme/mail", key=wrong)
        scene.look()
        assert scene.leased(one) == {"token": KEY.encode()}


def test_a_token_that_may_read_one_secret_is_enough(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    rule = 'path "secret/data/acme/mail" { capabilities = ["read"] }'
    monkeypatch.setenv("BAO_TOKEN", scene.bao.token_for(rule))
    one = scene.refer("openbao:secret/acme/mail#key")
    scene.look()
    assert scene.leased(one) == {"token": KEY.encode()}
    with pytest.raises(ReferenceAway, match="does not let this token read"):
        scene.refer("openbao:secret/globex/mail#key", client="globex")
    monkeypatch.setenv("BAO_TOKEN", "gone")
    scene.look()
    assert scene.leased(one) == {"token": KEY.encode()}


def test_several_fields_are_those_of_the_secret_by_name(scene: Scene):
    scene.bao.write("acme/pair", username="shop", password=KEY, note="x")
    one = scene.refer("openbao:secret/acme/pair", provider="basic")
    scene.look()
    assert scene.leased(one) == {"username": b"shop", "password": KEY.encode()}
    with pytest.raises(CredentialRefused, match="without `#FIELD`"):
        scene.refer("openbao:secret/acme/pair#password", provider="basic")


@pytest.mark.parametrize(
    "reference",
    [
        "secret/acme/mail#key",
        "openbao:acme",
        "openbao:secret/../sys/mounts#key",
        "openbao:secret//mail#key",
        "openbao:secret/acme/mail?version=1#key",
        "openbao:secret/acme/mail#",
        KEY,
    ],
)
def test_what_is_no_reference_is_refused_without_being_repeated(scene: Scene, reference: str):
    with pytest.raises(CredentialRefused) as refused:
        scene.refer(reference)
    assert reference not in str(refused.value)
    assert scene.store.connections.all() == ()


def test_a_reference_to_nothing_makes_no_connection(scene: Scene):
    with pytest.raises(ReferenceGone, match="no secret `secret/acme/none`"):
        scene.refer("openbao:secret/acme/none#key")
    with pytest.raises(CredentialRefused, match="has no text `token`"):
        scene.refer("openbao:secret/acme/mail#token")
    assert scene.store.connections.all() == ()


def test_over_plain_http_nothing_is_asked(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("BAO_ADDR", "http://bao.example.test:8200")
    with pytest.raises(ReferenceAway, match="must be `https://`"):
        scene.refer("openbao:secret/acme/mail#key")


def test_a_reference_that_is_moved_in_the_store_sends_nothing(scene: Scene):
    """Another client's connection with this row, or this one for another origin: it does not open."""
    one = scene.refer("openbao:secret/acme/mail#key")
    for change in ({"client": "globex"}, {"origins": ("https://thief.example",)}):
        before = {name: getattr(one, name) for name in change}
        mine = sa.update(rows).where(rows.c.id == one.id)
        with scene.store._database.writing() as database:
            database.execute(mine.values(change))
        fresh = References(scene.store, scene.vault, lambda: DECLARED, clock=lambda: scene.now)
        fresh.look()
        assert fresh.held(replace(one, **change)) is None
        with scene.store._database.writing() as database:
            database.execute(mine.values(before))
    scene.look()
    assert scene.leased(one) is not None


def test_what_is_kept_elsewhere_is_replaced_there(scene: Scene):
    one = scene.refer("openbao:secret/acme/mail#key")

    class Nobody:
        def fetch(self, *_: object, **__: object) -> None:
            raise AssertionError("nothing is asked")

    rotator = Rotator(scene.store, scene.vault, Nobody(), holder="test")
    with pytest.raises(CredentialRefused, match="kept at OpenBao: replace it there"):
        rotator.start(DECLARED, one, author="test")
    admin = scene.known.refer(DECLARED, "api", "acme", "admin", "openbao:secret/acme/mail#key", {})
    by_admin = replace(ONE, rotation=Rotation(by="admin"))
    declared = replace(DECLARED, providers=(by_admin, TWO))
    held = scene.known.connect(declared, "api", "acme", "other", {"token": Secret(NEXT)}, {})
    with pytest.raises(CredentialRefused, match="must be entered here"):
        rotator._require_admin(declared, held, by_admin)
    assert admin.is_reference


def test_calls_carry_it_and_then_the_next(
    tmp_path: Path, bao: OpenBao, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    place = home(tmp_path)
    monkeypatch.setenv("TIDEGATE_HOME", str(place.data))
    monkeypatch.setenv("TIDEGATE_ROOT_KEY_FILE", str(place.root_key))
    monkeypatch.setattr("tidegate.credentials.references.READ_EVERY", timedelta(seconds=1))
    file = tmp_path / "tidegate.yaml"
    with origin() as provider, services(place) as state:
        file.write_text(
            "version: 1\ngateway: {listen: [{bind: '127.0.0.1:0'}]}\nclients: {acme: {}}\n"
            f"consumers: {{shop: {{clients: [acme]}}}}\nproviders:\n  api:\n    origin: {provider.url}\n"
            "    auth: bearer\n    allow_private: [127.0.0.0/8]\n    operations: ['GET /things']\n"
            "grants: [{consumer: shop, provider: api, operations: ['*']}]\n"
        )
        state.make_root_key()
        declaration = load_declaration(file)
        state.apply(declaration, author="test")
        connect = ["connect", "api", "--client", "acme", "--from", "openbao:secret/acme/mail#key"]
        assert main(connect) == 0
        assert "stays at OpenBao" in capsys.readouterr().out
        _, token = state.tokens.create(declaration, "shop")
        gateway = Gateway(place, file, author="test", grace_s=5)
        thread = threading.Thread(target=gateway.run)
        thread.start()
        try:
            (address,) = gateway.wait_ready(20.0).values()
            headers = {"Tidegate-Token": token.reveal().decode()}

            def carried() -> str:
                url = f"http://{address}/api/things"
                httpx.get(url, headers=headers, trust_env=False, timeout=20).raise_for_status()
                return provider.seen[-1]["authorization"]

            # The very first call has it.
            assert carried() == f"Bearer {KEY}"
            bao.write("acme/mail", key=NEXT)
            wait_until(lambda: carried() == f"Bearer {NEXT}")
        finally:
            gateway.stop()
            thread.join()
