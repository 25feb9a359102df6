"""A property of a provider's document is selected wherever requests have it, or it is said why not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidegate.app.protecting import sample_of, tried
from tidegate.catalog import ConfigErrors, load
from tidegate.domain.declaration import Declaration
from tidegate.domain.protection import Mask, Tokenise

DOCUMENT = """
openapi: 3.1.0
info: {title: CRM, version: "1"}
servers: [{url: https://api.crm.example}]
paths:
  /people:
    post:
      operationId: PostPeople
      requestBody:
        content:
          application/json: {schema: {$ref: "#/components/schemas/NewPerson"}}
          application/x-www-form-urlencoded: {schema: {$ref: "#/components/schemas/NewPerson"}}
          multipart/form-data: {schema: {$ref: "#/components/schemas/NewPerson"}}
  /lists:
    post:
      operationId: PostList
      requestBody: {$ref: "#/components/requestBodies/List"}
  /trees:
    post:
      operationId: PostTree
      requestBody: {content: {application/json: {schema: {$ref: "#/components/schemas/Tree"}}}}
  /notes:
    post:
      operationId: PostNote
      requestBody: {content: {text/plain: {schema: {type: string}}}}
components:
  requestBodies:
    List:
      content:
        application/vnd.crm+json:
          schema: {type: array, items: {$ref: "#/components/schemas/NewPerson"}}
  schemas:
    Contact: {type: object, properties: {email: {type: string}, "work phone": {type: string}}}
    net.Address: {type: object, properties: {ip: {type: string}}}
    Base: {type: object, properties: {id: {type: string}}}
    NewPerson:
      allOf:
        - {$ref: "#/components/schemas/Base"}
        - type: object
          properties:
            contact: {$ref: "#/components/schemas/Contact"}
            others: {type: object, additionalProperties: {$ref: "#/components/schemas/Contact"}}
            net: {oneOf: [{$ref: "#/components/schemas/net.Address"}, {type: "null"}]}
    Tree:
      type: object
      properties:
        name: {type: string}
        children: {type: array, items: {$ref: "#/components/schemas/Tree"}}
    Unused: {type: object, properties: {a: {type: string}}}
"""
DECLARED = """version: 1
clients: {{acme: {{}}}}
consumers: {{shop: {{clients: [acme]}}}}
providers:
  crm: {{openapi: crm.yaml, auth: bearer}}
  bare: {{origin: "https://b.example", auth: bearer, operations: {{A: POST /a}}}}
protection:
  - operations: [{operations}]
    purpose: sales
    fields: [{fields}]
"""


def declared(folder: Path, fields: str, operations: str = "crm:PostPeople") -> Declaration:
    (folder / "crm.yaml").write_text(DOCUMENT)
    (folder / "tidegate.yaml").write_text(
        DECLARED.format(fields=fields, operations=f'"{operations}"')
    )
    return load(folder)


def places(folder: Path, at: str, operations: str = "crm:PostPeople") -> list[str]:
    (policy,) = declared(folder, f'{{at: "{at}", do: {{mask: 2}}}}', operations).protection
    assert all(rule.do == Mask(2) for rule in policy.fields)
    return [rule.at for rule in policy.fields]


def test_a_property_is_found_in_every_kind_of_body(tmp_path: Path):
    assert places(tmp_path, "property Contact.email") == [
        "body $.contact.email",
        "body $.others[*].email",
        "form contact[email]",
        "form others[*][email]",
        "part contact $.email",
        "part others $[*].email",
    ]


@pytest.mark.parametrize(
    ("at", "found"),
    [
        ("property NewPerson.id", "body $[*].id"),
        ("property Base.id", "body $[*].id"),
        ("property net.Address.ip", "body $[*].net.ip"),
        ("property NewPerson.contact", "body $[*].contact"),
    ],
)
def test_a_property_is_found_through_references_compositions_and_lists(
    tmp_path: Path, at: str, found: str
):
    assert places(tmp_path, at, "crm:PostList") == [found]


def test_a_name_that_jsonpath_has_no_short_form_for_is_quoted(tmp_path: Path):
    found = places(tmp_path, "property Contact.work phone", "crm:PostList")
    assert found == ["body $[*].contact['work phone']", "body $[*].others[*]['work phone']"]


def test_several_operations_are_looked_at_together(tmp_path: Path):
    found = places(tmp_path, "property Base.id", "crm:POST /*")
    assert found == ["body $.id", "form id", "part id", "body $[*].id"]


@pytest.mark.parametrize(
    ("at", "operations", "said"),
    [
        ("property Contcat.email", "crm:PostPeople", "did you mean `Contact`?"),
        ("property Contact.emial", "crm:PostPeople", "did you mean `email`?"),
        ("property Contact.email", "crm:PostNote", "no request of these operations has"),
        ("property Unused.a", "crm:PostPeople", "no request of these operations has"),
        ("property Tree.name", "crm:PostTree", "can be within itself"),
        ("property Contact.email", "bare:A", "has no document that has properties"),
        ("property Contact", "crm:PostPeople", "is not a property"),
    ],
)
def test_a_property_that_is_nowhere_is_told_with_what_would_be_right(
    tmp_path: Path, at: str, operations: str, said: str
):
    with pytest.raises(ConfigErrors) as caught:
        places(tmp_path, at, operations)
    found = [f"{error.message} {error.hint}" for error in caught.value.errors]
    assert any(said in one for one in found), found


def test_a_place_of_a_property_that_has_a_rule_already_is_told(tmp_path: Path):
    fields = '{at: "body $.contact.email", do: drop}, {at: property Contact.email, do: allow}'
    with pytest.raises(ConfigErrors) as caught:
        declared(tmp_path, fields)
    assert "`body $.contact.email` has a rule already" in str(caught.value.errors[0].message)


def test_tokens_of_a_property_are_bound_to_its_name_wherever_it_stands(tmp_path: Path):
    (policy,) = declared(tmp_path, "{at: property Contact.email, do: {tokenise: aead}}").protection
    bound = {rule.do.field for rule in policy.fields if isinstance(rule.do, Tokenise)}
    assert bound == {"property Contact.email"}


def test_the_engine_acts_on_a_property_where_it_stands(tmp_path: Path):
    found = declared(
        tmp_path, '{at: property Contact.email, do: {mask: 4}}, {at: "body $.id", do: allow}'
    )
    body = b'{"id":"1","contact":{"email":"jane@example.com"},"others":{"x":{"email":"bob@example.com"}}}'
    sent = tried(found, sample_of(found, "crm:PostPeople", body, "application/json")).after
    assert sent is not None
    assert sent.body == (
        b'{"id":"1","contact":{"email":"************.com"},"others":{"x":{"email":"***********.com"}}}'
    )
