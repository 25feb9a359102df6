"""A small provider that runs, and a client that trusts its authority alone."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tidegate.domain.secret import Secret
from tidegate.sandbox import Sandbox

KEY = "key_right"

SHOP = """
openapi: 3.1.0
info: {title: Shop, version: "1"}
servers: [{url: https://api.shop.test/v2}]
components:
  securitySchemes: {key: {type: http, scheme: bearer}}
  schemas:
    Order:
      type: object
      required: [id, state, lines]
      properties:
        id: {type: string, format: uuid}
        state: {type: string, enum: [open, paid]}
        parent: {$ref: "#/components/schemas/Order"}
        secret: {type: string, writeOnly: true}
        lines: {type: array, minItems: 2, items: {type: integer, minimum: 10}}
paths:
  /orders/{id}:
    get:
      operationId: GetOrder
      responses:
        "200": {content: {application/json: {schema: {$ref: "#/components/schemas/Order"}}}}
    delete:
      operationId: DeleteOrder
      responses: {"204": {description: gone}}
  /orders/latest:
    get:
      operationId: GetLatestOrder
      responses:
        "200": {content: {application/json: {example: {id: latest}}}}
  /orders:
    post:
      operationId: PostOrder
      responses:
        "201":
          content:
            text/plain: {example: made}
            application/vnd.shop+json:
              examples: {first: {value: {made: true}}}
"""


@pytest.fixture(scope="session")
def shop_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("documents") / "shop.yaml"
    path.write_text(SHOP)
    return path


@pytest.fixture(scope="session")
def running_shop(shop_file: Path) -> Iterator[Sandbox]:
    accounts = {"acme": {"token": Secret(KEY)}, "globex": {"token": Secret("key_other")}}
    with Sandbox.from_document(shop_file, accounts=accounts) as shop:
        yield shop


@pytest.fixture
def shop(running_shop: Sandbox) -> Sandbox:
    """The running shop, with nothing received and nothing asked of it."""
    running_shop.received.clear()
    running_shop.behave_well()
    return running_shop


def consumer(provider: Sandbox, **headers: str) -> httpx.Client:
    context = ssl.create_default_context(cadata=provider.ca_pem)
    return httpx.Client(
        base_url=provider.origin, verify=context, headers=headers, trust_env=False, timeout=10
    )


@pytest.fixture
def client(shop: Sandbox) -> Iterator[httpx.Client]:
    with consumer(shop, Authorization=f"Bearer {KEY}") as opened:
        yield opened
