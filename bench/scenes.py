"""Declarations too large to write by hand: many operations, many grants, many clients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tidegate.catalog import read_document, read_operations
from tidegate.domain.attach import AttachHeader
from tidegate.domain.connection import Connection
from tidegate.domain.declaration import Client, Consumer, Declaration, Grant, Provider, TlsPolicy
from tidegate.domain.operation import Operation

CONSUMER: Final = "shop"
CLIENT: Final = "client-0000"
ESTATE_CLIENTS: Final = 1_000
ESTATE_CONNECTIONS_EACH: Final = 10

_PROVIDER: Final = "items"
_CREDENTIAL_FIELD: Final = "token"
_PATHS_CALLED: Final = 1_000
_RESOURCES_A_GROUP: Final = 100


@dataclass(frozen=True, slots=True)
class Scene:
    """A declaration, the connections on record, and paths of the gateway to call."""

    declaration: Declaration
    connections: tuple[Connection, ...]
    paths: tuple[str, ...]


def table(origin: str, authority_pem: str, *, operations: int, grants: int) -> Scene:
    """One provider of many operations. One grant covers all, or each of many covers one.

    The paths called are as many and as long whatever the size of the table.
    """
    listed = tuple(
        Operation(f"op-{number:06}", "GET", _path(number, "{item}")) for number in range(operations)
    )
    provider = _provider((origin,), authority_pem, listed)
    if grants == 1:
        granted: tuple[Grant, ...] = (Grant(CONSUMER, _PROVIDER, ("*",), name="all"),)
    else:
        granted = tuple(
            Grant(CONSUMER, _PROVIDER, (operation.id,), name=f"grant-{operation.id}")
            for operation in listed[:grants]
        )
    step = max(1, min(operations, grants if grants > 1 else operations) // _PATHS_CALLED)
    called = [number * step % operations for number in range(_PATHS_CALLED)]
    return Scene(
        Declaration(
            clients=(Client(CLIENT),),
            consumers=(Consumer(CONSUMER, (CLIENT,)),),
            providers=(provider,),
            grants=granted,
        ),
        (_connection(CLIENT, "default", (origin,)),),
        tuple(f"/{_PROVIDER}{_path(number, '42')}" for number in called),
    )


def estate(origin: str, authority_pem: str, github_document: Path) -> Scene:
    """An agency's estate: 1,000 clients with 10 connections each, at an API of GitHub's size."""
    document = read_document(github_document.read_bytes(), github_document.name)
    operations = read_operations(document).operations
    origins = (origin,) * (1 + max(operation.origin for operation in operations))
    clients = [f"client-{number:04}" for number in range(ESTATE_CLIENTS)]
    names = ["default", *(f"account-{n}" for n in range(1, ESTATE_CONNECTIONS_EACH))]
    return Scene(
        Declaration(
            clients=tuple(Client(client) for client in clients),
            consumers=(Consumer(CONSUMER, tuple(clients)),),
            providers=(_provider(origins, authority_pem, operations),),
            grants=(Grant(CONSUMER, _PROVIDER, ("*",), name="all"),),
        ),
        tuple(_connection(client, name, origins) for client in clients for name in names),
        (f"/~{CLIENT}/{_PROVIDER}/repos/octocat/hello-world",),
    )


def _path(number: int, item: str) -> str:
    group, resource = divmod(number, _RESOURCES_A_GROUP)
    return f"/v1/group-{group:04}/resource-{resource:02}/{item}"


def _provider(
    origins: tuple[str, ...], authority_pem: str, operations: Sequence[Operation]
) -> Provider:
    return Provider(
        name=_PROVIDER,
        title="Items",
        origins=origins,
        attach=(AttachHeader("Authorization", _CREDENTIAL_FIELD, prefix="Bearer "),),
        operations=tuple(operations),
        allow_private=("127.0.0.0/8",),
        http="1.1",
        tls=TlsPolicy(ca_pem=authority_pem),
    )


def _connection(client: str, name: str, origins: tuple[str, ...]) -> Connection:
    made_at = datetime.now(UTC)
    return Connection(
        id=f"con_{client}_{name}",
        client=client,
        provider=_PROVIDER,
        name=name,
        version=1,
        scheme="header",
        origins=origins,
        fields=(_CREDENTIAL_FIELD,),
        created_at=made_at,
        rotated_at=made_at,
    )
