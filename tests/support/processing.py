"""Two clients whose data goes to several providers under policies and agreements: what records are made of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tidegate.domain.agreement import Agreement, Subprocessor, Transfer
from tidegate.domain.declaration import Client, Consumer, Declaration, Grant, Provider
from tidegate.domain.ledger import Flow
from tidegate.domain.operation import Operation
from tidegate.domain.party import Contact, Erasure, Party
from tidegate.domain.protection import FieldRule, Mask, Plain, Protection
from tidegate.privacy.processing import Processing, processing

NOW = datetime(2026, 9, 1, 8, 30, tzinfo=UTC)
ALLOW, DROP = Plain("allow"), Plain("drop")

PAYMENTS = Provider(
    name="payments",
    title="Payments",
    origins=("https://api.payments.example",),
    attach=(),
    operations=(
        Operation("CreateCustomer", "POST", "/v1/customers"),
        Operation("CreateCharge", "POST", "/v1/charges"),
        Operation("ListCharges", "GET", "/v1/charges"),
    ),
    party=Party(
        legal_name="Payments International Ltd", contact=Contact(email="dpo@payments.example")
    ),
)
MAILER = Provider(
    name="mailer",
    title="Mailer",
    origins=("https://api.mailer.example",),
    attach=(),
    operations=(
        Operation("AddContact", "POST", "/contacts"),
        Operation("Forget", "POST", "/forget"),
    ),
    erasures=(Erasure("Forget", (("body /email", "{identifier}"),), ("email",)),),
)
CLINIC = Provider(
    name="clinic",
    title="Clinic Scheduling",
    origins=("https://api.clinic.example",),
    attach=(),
    operations=(Operation("Book", "POST", "/appointments"),),
)
POLICIES = (
    Protection(
        name="customers",
        operations=(("payments", "CreateCustomer"), ("payments", "CreateCharge")),
        purpose="essential.service.payment_processing",
        legal_basis="contract",
        subjects=("customer",),
        fields=(
            FieldRule("form email", ALLOW, "contact.email"),
            FieldRule("form name", ALLOW, "name"),
            FieldRule("form phone", Mask(4), "contact.phone_number"),
            FieldRule("form metadata[*]", DROP),
            FieldRule("form amount", ALLOW, "none"),
        ),
    ),
    Protection(
        name="newsletter",
        operations=(("mailer", "AddContact"),),
        purpose="marketing.communications.email",
        legal_basis="consent",
        subjects=("customer", "prospect"),
        fields=(FieldRule("body $.email", ALLOW, "contact.email"),),
    ),
    Protection(
        name="bookings",
        operations=(("clinic", "Book"),),
        purpose="appointments",
        subjects=("patient",),
        fields=(
            FieldRule("body $.reason", ALLOW, "health.complaint"),
            FieldRule("body $.name", ALLOW, "name"),
        ),
    ),
)
ACME = Client(
    "acme",
    title="Acme",
    region="eu",
    party=Party(
        legal_name="Acme Handels GmbH",
        contact=Contact(
            "Acme Handels GmbH", "info@acme.example", "+49 30 555 0100", "Seestraße 1, 13347 Berlin"
        ),
        dpo=Contact("Dr. Rosa Weber", "dpo@acme.example"),
        retention=(
            ("*", "two years after the last order"),
            ("appointments", "ten years (§ 630f BGB)"),
        ),
        security=(
            "Access to order data by role, reviewed each quarter.",
            "Backups encrypted, restored in a drill each half-year.",
        ),
    ),
)
GLOBEX = Client("globex", title="Globex <script>alert(1)</script>")
DECLARATION = Declaration(
    clients=(ACME, GLOBEX),
    consumers=(Consumer("shop", ("acme", "globex")), Consumer("clinic-app", ("acme",))),
    providers=(PAYMENTS, MAILER, CLINIC),
    grants=(
        Grant("shop", "payments", ("*",), name="g0"),
        Grant("shop", "mailer", ("AddContact",), name="g1"),
        Grant("clinic-app", "clinic", ("*",), name="g2"),
    ),
    protection=POLICIES,
    organisation=Party(
        legal_name="Tide Agency GmbH",
        contact=Contact(email="privacy@agency.example", address="Hafenweg 2, 20457 Hamburg"),
        dpo=Contact("Jonas Falk", "dpo@agency.example"),
        security=("Staff bound to secrecy in writing.", "Operators sign in with hardware keys."),
    ),
)
AGREEMENTS = (
    Agreement(
        name="payments-dpa-2025",
        kind="dpa",
        provider="payments",
        clients=("acme",),
        parties=("Acme Handels GmbH", "Payments International Ltd"),
        role="processor",
        categories=("contact", "name"),
        purposes=("essential",),
        regions=("eu", "us"),
        document="ab" * 32,
        starts=NOW - timedelta(days=400),
        ends=NOW + timedelta(days=200),
        transfer=Transfer("scc", "TIA-2025-07"),
        subprocessors=(Subprocessor("Cloudy", "us", (NOW - timedelta(days=30)).date()),),
    ),
    Agreement(
        name="mailer-dpa",
        kind="dpa",
        provider="mailer",
        clients=("*",),
        parties=("Tide Agency GmbH", "Mailer Oy"),
        role="processor",
        categories=("contact",),
        purposes=("marketing",),
        regions=("eu",),
        document="cd" * 32,
        starts=NOW - timedelta(days=400),
    ),
)
USES = {
    "essential.service.payment_processing": ("payments", "CreateCustomer"),
    "marketing.communications.email": ("mailer", "AddContact"),
    "appointments": ("clinic", "Book"),
}


def flow(
    at: str, category: str, purpose: str, count: int, *, client: str = "acme", **changed: object
) -> Flow:
    provider, operation = USES[purpose]
    values: dict[str, object] = {
        "client": client,
        "provider": provider,
        "operation": operation,
        "at": at,
        "category": category,
        "action": "allow",
        "purpose": purpose,
        "first": NOW - timedelta(days=300),
        "last": NOW - timedelta(hours=3),
        "count": count,
    }
    return Flow(**(values | changed))  # type: ignore[arg-type]


PAY, MAIL, BOOK = USES
FLOWS = (
    flow("form email", "contact.email", PAY, 48_211),
    flow("form name", "name", PAY, 48_190),
    flow("form amount", "none", PAY, 48_211),
    flow("body $.email", "contact.email", MAIL, 3_020),
    flow("body $.reason", "health.complaint", BOOK, 212),
    flow("body $.name", "name", BOOK, 212),
    flow("body $.email", "contact.email", MAIL, 77, client="globex"),
)
CALLED = {
    ("payments", "CreateCustomer"): 48_211,
    ("payments", "ListCharges"): 911,
    ("mailer", "AddContact"): 3_020,
    ("clinic", "Book"): 212,
}


def of(client: Client) -> Processing:
    called = CALLED if client is ACME else {("mailer", "AddContact"): 77}
    return processing(DECLARATION, client, FLOWS, AGREEMENTS, called=called, now=NOW)
