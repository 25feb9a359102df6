"""A provider with keys, its declaration, and a scene in which its keys are replaced."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tidegate.credentials import Rotator
from tidegate.domain.attach import AttachHeader
from tidegate.domain.connection import Connection
from tidegate.domain.declaration import Deadlines, Declaration, Provider, TlsPolicy
from tidegate.domain.operation import Operation
from tidegate.domain.rotation import (
    CreateHook,
    Hook,
    Identify,
    ListHook,
    NewField,
    OverlapClass,
    Rotation,
    RotationState,
)
from tidegate.domain.secret import Secret
from tidegate.sandbox import KeyServer
from tidegate.store import RotationRow, Store
from tidegate.vault import Vault

BEARER = (AttachHeader("Authorization", "token", prefix="Bearer "),)
OVER = {RotationState.DONE, RotationState.ROLLED_BACK}
HELD = {RotationState.UNKNOWN, RotationState.MANUAL}

MANY = Rotation(
    overlap_class=OverlapClass.MANY,
    by="admin",
    create=CreateHook(
        Hook("POST", "/keys", body='{"name": "{name}"}'), (NewField("token", "/key"),), "/id"
    ),
    list=ListHook(Hook("GET", "/keys"), "/keys", "/id", name_at="/name", last_used_at="/last_used"),
    delete=Hook("DELETE", "/keys/{id}"),
    test=Hook("GET", "/things"),
    identify=Identify(hook=Hook("GET", "/self"), id_at="/id"),
    overlap_ms=60_000,
    propagation_ms=2_000,
)
IN_PLACE = Rotation(
    overlap_class=OverlapClass.IN_PLACE,
    create=CreateHook(Hook("POST", "/self/rotate"), (NewField("token", "/key"),), "/id"),
    test=Hook("GET", "/things"),
)


def provider_of(server: KeyServer, rotation: Rotation, **values: Any) -> Provider:
    return Provider(
        name="api",
        title="API",
        origins=(server.origin,),
        attach=BEARER,
        operations=(Operation("things.list", "GET", "/things"),),
        allow_private=("127.0.0.0/8",),
        tls=TlsPolicy(ca_pem=server.ca_pem),
        deadlines=Deadlines(connect_ms=1_000, first_byte_ms=1_000),
        rotation=rotation,
        **values,
    )


def connect(vault: Vault, server: KeyServer, name: str, key: str, version: int = 1) -> Connection:
    now = datetime.now(UTC)
    made = Connection(
        id=f"con_{name}", client="acme", provider="api", name=name, version=version,
        scheme="header", origins=(server.origin,), fields=("token",),
        created_at=now, rotated_at=now,
    )  # fmt: skip
    vault.seal(made, {"token": Secret(key)})
    return made


@dataclass
class Clock:
    ahead: timedelta = field(default_factory=timedelta)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@dataclass
class Scene:
    """One connection with one key, an admin beside it, and who rotates."""

    store: Store
    vault: Vault
    server: KeyServer
    declaration: Declaration
    rotator: Rotator
    clock: Clock

    def connection(self) -> Connection:
        found = self.store.connections.get("con_default")
        assert found is not None
        return found

    def start(self) -> str:
        return self.rotator.start(self.declaration, self.connection(), author="test").id

    def row(self, rotation: str) -> RotationRow:
        found = self.store.rotations.get(rotation)
        assert found is not None
        return found

    def step(self, rotation: str) -> RotationRow:
        """Make the next step, at the moment when it is due."""
        row = self.row(rotation)
        if row.retry_at is not None:
            self.clock.ahead += max(row.retry_at - self.clock(), timedelta(0))
        found = self.rotator.advance(rotation, self.declaration)
        assert found is not None
        return found

    def until(self, rotation: str, *states: RotationState, most: int = 60) -> RotationRow:
        for _ in range(most):
            row = self.step(rotation)
            if row.state in (states or OVER | HELD) and (
                states or row.active is None or row.state in HELD
            ):
                return row
        raise AssertionError(self.row(rotation))

    def key(self) -> str:
        """The key that calls carry."""
        return self.vault.open(self.connection())["token"].reveal().decode()

    def alive(self) -> list[str]:
        return [key.value for key in self.server.alive()]
