"""A small declaration, built by hand, and parts to vary it with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tidegate.domain.attach import AttachHeader
from tidegate.domain.connection import AccessToken, Connection
from tidegate.domain.declaration import Client, Consumer, Declaration, Grant, Provider
from tidegate.domain.operation import Operation

CRM = """version: 1
clients: {acme: {}}
consumers: {shop: {clients: [acme]}}
providers:
  crm:
    origin: https://api.example.com
    auth: bearer
    operations: {PostPeople: POST /people, GetPerson: "GET /people/{id}"}
grants:
  - {consumer: shop, provider: crm, operations: ["*"]}
"""
"""A file that declares one provider of people; policies are put after it."""

NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)

OPERATIONS = (
    Operation("GetCharges", "GET", "/v1/charges"),
    Operation("GetChargesCharge", "GET", "/v1/charges/{charge}"),
    Operation("PostRefunds", "POST", "/v1/refunds"),
)
STRIPE = Provider(
    name="stripe",
    title="Stripe",
    origins=("https://api.stripe.test",),
    attach=(AttachHeader("Authorization", "token", prefix="Bearer "),),
    operations=OPERATIONS,
)
SHOPIFY = Provider(
    name="shopify",
    title="Shopify",
    origins=("https://{shop}.myshopify.test",),
    attach=(AttachHeader("X-Shopify-Access-Token", "token"),),
    operations=(Operation("GET /admin/orders.json", "GET", "/admin/orders.json"),),
    variables=("shop",),
)
DECLARATION = Declaration(
    clients=(Client("acme"), Client("globex")),
    consumers=(Consumer("shop", ("acme", "globex")),),
    providers=(STRIPE, SHOPIFY),
    grants=(Grant("shop", "stripe", ("GetCharges*",), name="grants[0]"),),
)


def token(name: str = "tok_1", **changed: object) -> AccessToken:
    values: dict[str, object] = {
        "id": name,
        "consumer": "shop",
        "hmac_hex": "ab" * 32,
        "created_at": NOW - timedelta(days=1),
        "expires_at": NOW + timedelta(days=1),
    }
    return AccessToken(**(values | changed))  # type: ignore[arg-type]


def connection(provider: str = "stripe", **changed: object) -> Connection:
    values: dict[str, object] = {
        "id": f"con_{provider}",
        "client": "acme",
        "provider": provider,
        "name": "default",
        "version": 1,
        "scheme": "bearer",
        "origins": ("https://api.stripe.test",),
        "fields": ("token",),
        "created_at": NOW,
        "rotated_at": NOW,
    }
    return Connection(**(values | changed))  # type: ignore[arg-type]
