"""Tokens carried elsewhere, hidden secrets, values that are not what they should be: nothing gets in clear."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from support.canaries import plant
from support.crm import CREDENTIAL, Front, protecting
from support.running import wait_until

EMAIL = "john.q.canary@example.com"
PAN = "4111 1111 1111 1111"

POLICY = """
  - operations: ["crm:PostPeople", "mail:PostPeople"]
    purpose: sales
    fields:
      - {at: body $.email, category: contact.email, do: {tokenise: aead, restore_in: [GetPerson]}}
      - {at: body $.second, category: contact.email, do: {tokenise: aead, restore_in: [GetPerson]}}
      - {at: body $.digits, do: {tokenise: ff1}}
      - {at: body $.hashed, category: contact.email, do: {hash: meta.email}}
      - {at: body $.phone, category: contact.phone_number, do: {hash: meta.phone}}
      - {at: body $.card, category: payment.card, do: allow}
      - {at: body $.note, do: allow}
      - {at: "body $.more", do: allow}
  - operations: ["crm:PostNotes"]
    purpose: sales
    fields: [{at: body $.note, do: allow}, {at: body $.card, category: payment.card, do: allow}]
    report_until: 2999-01-01
  - operations: ["crm:PostTagged"]
    purpose: payment
    fields:
      - {at: body $, do: allow}
      - at: body $.orders[*].card
        category: payment.card
        do: {encrypt: {jwe: {key: psp.pem}, as: mastercard, into: encryptedCard}}
  - operations: ["mail:PostNotes"]
    purpose: sales
    assert_absent: [iban, email, jwt, entropy]
    fields: [{at: body $.note, do: allow}, {at: body $.to, category: contact.email, do: allow}]
"""


def with_key(folder: Path) -> Path:
    """A folder in which the declaration finds the key that it encrypts to."""
    (folder / "home").mkdir()
    public = rsa.generate_private_key(65_537, 2_048).public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / "home/psp.pem").write_bytes(pem)
    return folder


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    plant(EMAIL)
    with protecting(with_key(tmp_path_factory.mktemp("protected")), POLICY) as front:
        yield front


@pytest.fixture
def token(front: Front) -> str:
    """A token of acme's, for the e-mail at the CRM."""
    front.crm.answer = None
    front.send({"email": EMAIL})
    return front.crm.last["email"]


def test_a_token_opens_nowhere_but_where_it_was_made(front: Front, token: str):
    answers = {
        "another client": ({"email": token}, {"client": "globex"}),
        "another provider": ({"email": token}, {"at": "mail/people/1"}),
        "another field": ({"second": token}, {}),
        "a place that is not declared": ({"name": token, "list": [{"email": token}]}, {}),
    }
    for answer, asked in answers.values():
        front.crm.answer = json.dumps(answer).encode()
        assert front.look(**asked).json() == answer
    front.crm.answer = json.dumps({"email": token}).encode()
    assert front.look().json() == {"email": EMAIL}


def test_whoever_sends_a_token_as_a_value_gets_the_token_back(front: Front, token: str):
    front.send({"email": token}, client="globex")
    assert front.crm.last["email"] != token
    assert front.look(client="globex").json() == {"email": token}


def test_tokens_that_were_altered_stay_as_they_are(front: Front, token: str):
    head, _, sealed = token.rpartition(".")
    for other in (
        token[:-1],
        token + "A",
        f"{head}.{sealed[:-6]}AAAAAA",
        token.replace("tdgt1.a1", "tdgt1.s1"),
        token.replace("tdgt1.a1", "tdgt1.a2"),
        token.replace("tdgt1.a1", "tdgt1.a01"),
        token.upper(),
        "tdgt1.a1.",
        "tdgt1." * 1000,
    ):
        front.crm.answer = json.dumps({"email": other}).encode()
        assert front.look().json() == {"email": other}


def test_answers_that_cannot_be_read_pass_with_their_tokens(front: Front, token: str):
    doubled = b'{"email":"%s","email":"%s"}' % (token.encode(), token.encode())
    for answer in (doubled, b'["' + token.encode(), b"\xff\xfe" + token.encode()):
        front.crm.answer = answer
        assert front.look().content == answer
    front.crm.answer = b'{"pad":"' + b"x" * (11 << 20) + b'","email":"' + token.encode() + b'"}'
    assert front.look().content == front.crm.answer


def test_a_client_that_was_shredded_has_no_values_any_more(
    tmp_path_factory: pytest.TempPathFactory,
):
    with protecting(with_key(tmp_path_factory.mktemp("shredded")), POLICY) as front:
        front.send({"email": EMAIL}, client="globex")
        kept = front.crm.people[-1]
        assert front.look(client="globex").json() == {"email": EMAIL}
        front.gateway.state.vault.shred("globex")
        front.crm.answer = kept
        # Its credential is gone with its keys, and so is its right to call, once the gateway has looked.
        wait_until(lambda: EMAIL not in front.look(client="globex").text)
        for _ in range(3):
            answer = front.look(client="globex")
            assert EMAIL not in answer.text
        roots = front.gateway.state.store.protection_roots
        assert all(row.sealed for row in roots.of("acme"))


@pytest.mark.parametrize(
    ("person", "why"),
    [
        ({"digits": "12345"}, "six digits"),
        ({"digits": "12 34 56"}, "digits alone"),
        ({"hashed": "  "}, "this is none"),
        ({"hashed": "n/a"}, "none"),
        ({"hashed": "ab" * 32}, "hash already"),
        ({"phone": "650-555-1212"}, "country"),
        ({"email": "x" * (1 << 17)}, "64 KiB"),
    ],
)
def test_what_a_rule_cannot_protect_does_not_go_in_clear(front: Front, person: Any, why: str):
    before = len(front.crm.people)
    answer = front.send(person)
    assert (answer.status_code, answer.json()["code"]) == (422, "unprotectable")
    assert why in answer.json()["detail"]
    (value,) = person.values()
    assert not value.strip() or value not in answer.text
    assert len(front.crm.people) == before


def hidden(value: str) -> dict[str, str]:
    encoded = base64.b64encode(value.encode()).decode()
    return {
        "as it is": value,
        "within a text": f"please charge {value} today",
        "percent": quote(value, safe=""),
        "twice percent": quote(quote(value, safe=""), safe=""),
        "base64": encoded,
        "base64 of base64": base64.b64encode(encoded.encode()).decode(),
        "JSON within": json.dumps({"a": [value]}),
    }


HIDDEN_PANS = hidden(PAN) | {
    "zero width": "\u200b".join(PAN.replace(" ", "")),
    "full width": PAN.replace("1", "\uff11"),
    "no-break": PAN.replace(" ", "\u00a0"),
    "a dash that is none": PAN.replace(" ", "\u2011"),
}


@pytest.mark.parametrize("note", HIDDEN_PANS.values(), ids=HIDDEN_PANS)
@pytest.mark.parametrize("where", ["note", "more", "a name"])
def test_a_card_where_none_is_declared_is_refused(front: Front, note: str, where: str):
    person = {
        "note": {"note": note},
        "more": {"more": [{"deep": note}]},
        "a name": {"more": {note: 1}},
    }[where]
    before = len(front.crm.people)
    answer = front.send(person)
    assert (answer.status_code, answer.json()["code"]) == (422, "undeclared_field")
    assert "`pan`" in answer.json()["detail"]
    assert note not in answer.text
    assert len(front.crm.people) == before


def test_a_card_where_one_is_declared_goes(front: Front):
    assert front.send({"card": PAN}).status_code == 200
    assert front.crm.last == {"card": PAN}


SECRETS = {
    "of a known form": "sk" + "_live_" + "4eC39HqLyjWDarjtT1zdp7dc",
    "a private key": "-----BEGIN " + "PRIVATE KEY-----\nMIIE",
    "the client's own credential": f"{CREDENTIAL}-crm-acme",
    "another client's credential": f"key={CREDENTIAL}-mail-globex;",
}


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_a_secret_in_a_body_is_refused(front: Front, secret: str):
    for note in hidden(secret).values():
        answer = front.send({"note": note})
        assert answer.status_code == 422, note
        assert "`secret`" in answer.json()["detail"]
        assert secret not in answer.text


@pytest.mark.parametrize("note", [PAN, SECRETS["of a known form"], SECRETS["a private key"]])
def test_cards_and_secrets_do_not_go_either_where_a_policy_only_reports(front: Front, note: str):
    bodies = (
        {"note": note},
        {"note": "x", "unknown": note},
        {"unknown": 1, "note": note},
        {"unknown": {"deep": [note]}},
        json.dumps({"note": "x"}).encode()[:-1] + b',"note":' + json.dumps(note).encode() + b"}",
    )
    for body in bodies:
        before = len(front.crm.people)
        answer = front.send(body, to="crm/notes")
        assert (answer.status_code, answer.json()["code"]) == (422, "undeclared_field"), body
        assert len(front.crm.people) == before
    # What is only undeclared goes, as long as the policy reports.
    assert front.send({"unknown": 1, "card": PAN}, to="crm/notes").status_code == 200


@pytest.mark.parametrize(
    ("note", "detector"),
    [
        ("DE89 3704 0044 0532 0130 00", "iban"),
        ("ask jane@example.com", "email"),
        (
            "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
            "jwt",
        ),
        ("wJalrXUtnFEMI7K9MDENGbPxRfiCYEXAMPLEKEY4", "entropy"),
    ],
)
def test_what_a_policy_asserts_absent_is_refused(front: Front, note: str, detector: str):
    answer = front.send({"note": note}, to="mail/notes")
    assert answer.status_code == 422
    assert f"`{detector}`" in answer.json()["detail"]
    assert note not in answer.text


def test_an_address_where_one_is_declared_goes(front: Front):
    assert (
        front.send({"to": "jane@example.com", "note": "hello"}, to="mail/notes").status_code == 200
    )


def test_no_record_holds_a_value(front: Front):
    front.send({"email": EMAIL, "note": "x"})
    front.send({"note": PAN})
    records = [repr(record) for record in front.gateway.records(2)]
    assert not [one for one in records if EMAIL in one or PAN in one or "4111" in one]


def test_nothing_is_sent_in_clear_where_a_place_to_encrypt_is_another(front: Front):
    """Where a client library that encrypts by path sends what it did not find as it is."""
    card = {"pan": "5555 but not a number that a detector knows"}
    sent = len(front.crm.people)
    for body in (
        {"orders": [{"Card": card}]},
        {"orders": [{"card": card}, {"kard": card}]},
        {"orders": {"card": card}},
        {"order": [{"card": card}]},
        {"card": card},
        [{"orders": [{"card": card}]}],
        {"orders": [{"card": card, "encryptedCard": "taken"}]},
    ):
        refused = front.send(body, to="crm/tagged")
        assert refused.json()["code"] == "unprotectable", body
        assert "5555" not in refused.text
    assert len(front.crm.people) == sent
    note = {"orders": [{"card": card}], "note": card["pan"]}
    assert front.send(note, to="crm/tagged").json()["code"] == "undeclared_field"
    assert front.send({"orders": [{"card": card}, {"card": card}]}, to="crm/tagged").is_success
    kept = [order["encryptedCard"]["encryptedData"] for order in front.crm.last["orders"]]
    assert len(set(kept)) == 2
    assert b"5555" not in front.crm.people[-1]
