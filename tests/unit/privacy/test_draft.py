"""A draft says of each place what was seen and what probably becomes of it; it loads whatever the names are."""

from __future__ import annotations

from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from support.declared import CRM
from support.samples import NOON

from tidegate.catalog import ConfigErrors, load
from tidegate.catalog.openapi.places import DeclaredPlace
from tidegate.domain.declaration import Declaration
from tidegate.domain.shape import CALL, UNREAD, Shape
from tidegate.privacy.draft import Sends, draft, is_known
from tidegate.privacy.field_words import field_words, kind_of

TODAY = date(2027, 1, 3)


def shape(at: str, kind: str = "string", count: int = 10, **marks: int) -> Shape:
    return Shape("acme", "crm", "PostPeople", at, kind, count, marks, NOON, NOON)


def drafted(*shapes: Shape, declared: Any = None, purpose: str | None = "sales") -> str:
    calls = shape("", CALL, 20)
    return draft("crm", [Sends("PostPeople", (calls, *shapes), declared)], TODAY, purpose)


def place(at: str, *kinds: str, form: str = "", repeats: bool = False) -> DeclaredPlace:
    return DeclaredPlace(at, frozenset(kinds), form, repeats)


def loaded(folder: Path, text: str) -> Declaration:
    (folder / "tidegate.yaml").write_text(CRM + "include: [draft.yaml]\n")
    (folder / "draft.yaml").write_text(text)
    return load(folder)


def line(text: str, at: str) -> str:
    (found,) = [one for one in text.splitlines() if f'at: "{at}",' in one]
    return found.strip()


def test_each_place_has_a_rule_with_its_evidence():
    text = drafted(
        shape("body $.email", email=9),
        shape("body $.note", email=2, count=5),
        shape("body $.price", "number"),
        shape("body $.card", pan=10),
        shape("body $.auth", secret=3),
        shape("body $.born", date=10),
        shape("query page", repeated=2),
        shape("form tags[]", repeated=2),
        declared=[
            place("body $.email", "string"),
            place("body $.first_name", "string"),
            place("body $.contact", "string", form="email"),
        ],
    )
    assert line(text, "body $.email") == (
        '- {at: "body $.email", category: contact.email, do: allow}  '
        "# seen in 10 of 20 calls; 9 looked like `email`; personal: who needs it?"
    )
    assert "category: contact.email" in line(text, "body $.note")
    assert line(text, "body $.price") == (
        '- {at: "body $.price", do: allow}  # seen in 10 of 20 calls; not in the document'
    )
    assert "category: financial.credit_card, do: reject" in line(text, "body $.card")
    assert "must it leave at all?" in line(text, "body $.card")
    assert "do: reject" in line(text, "body $.auth")
    assert "category: demographic.date_of_birth" in line(text, "body $.born")
    assert "do: allow, repeated: true}" in line(text, "query page")
    assert "repeated" not in line(text, "form tags[]")
    assert "category: name.first, do: allow}  # only in the document" in line(
        text, "body $.first_name"
    )
    assert "category: contact.email" in line(text, "body $.contact")
    assert "    report_until: 2027-01-31" in text
    assert "    unknown_fields: reject\n" in text
    assert "# 20 sampled calls; 3 places in the provider's document" in text


def test_a_draft_loads_once_its_purpose_is_said(tmp_path: Path):
    unsaid = drafted(shape("body $.email", email=3), purpose=None)
    with pytest.raises(ConfigErrors) as caught:
        loaded(tmp_path, unsaid)
    (error,) = caught.value.errors
    assert error.message == "this draft does not say yet what the data is sent for"
    assert "in the place of `TODO`" in error.hint
    assert unsaid.splitlines()[error.line - 1].strip().startswith("purpose: TODO")
    (policy,) = loaded(tmp_path, unsaid.replace("TODO", "sales")).protection
    assert (policy.purpose, policy.unknown_fields) == ("sales", "reject")
    assert policy.report_until == date(2027, 1, 31)
    assert policy.sends == ("contact.email",)


def test_what_others_stand_in_lets_nothing_else_go():
    text = drafted(
        shape("body $.home", "null"),
        shape("body $.home.city"),
        shape("body $.metadata", "object"),
        shape("body $.list", "array"),
        shape("body $.list[*]"),
        shape("body $.nick", "null"),
        shape("body $.nick"),
    )
    assert "do: reject}  # nothing else was seen there" in line(text, "body $.home[*]")
    assert "do: reject" in line(text, "body $.metadata[*]")
    assert "do: allow" in line(text, "body $.list[*]")
    assert "body $.nick[*]" not in text


def test_names_that_are_data_are_let_go_below_a_name_and_not_at_the_top():
    text = drafted(shape("body $.*"), shape("body $.metadata.*", "number"), shape("query *"))
    assert "do: reject" in line(text, "body $.*")
    assert "do: reject" in line(text, "query *")
    assert "do: allow}  # seen in 10 of 20 calls; names there look like data, and go too" in line(
        text, "body $.metadata.*"
    )


def test_places_that_no_field_could_be_told_apart_by_become_one(tmp_path: Path):
    text = drafted(
        shape("body $.a.*"),
        shape("body $.*.b"),
        shape("body $.x[*].y", email=1),
        shape("body $.x.z[*]"),
        shape("form a[*]"),
        shape("form *"),
        declared=[place("body $.a[*]", "string"), place("body $['a']['*']", "string")],
    )
    (policy,) = loaded(tmp_path, text).protection
    ats = [rule.at for rule in policy.fields]
    assert "body $[*][*]" in ats
    assert "body $.x[*][*]" in ats


def test_what_could_not_be_read_is_told():
    text = drafted(shape("body", UNREAD, 4), shape("query q"))
    assert "# 4 bodies could not be read" in text
    assert 'at: "body' not in text


def test_nothing_is_drafted_of_nothing():
    assert not is_known(Sends("PostPeople", (shape("", CALL, 3),), None))
    assert not is_known(Sends("PostPeople", (), ()))
    assert is_known(Sends("PostPeople", (), (place("query q"),)))


def test_a_policy_has_no_more_rules_than_may_be(tmp_path: Path):
    text = drafted(declared=[place(f"body $.a{n}") for n in range(1_200)])
    (policy,) = loaded(tmp_path, text).protection
    assert len(policy.fields) == 1_000


def test_the_words_are_found_however_names_part_them():
    for names, category in [
        (["billingEmail"], "contact.email"),
        (["customer", "first_name"], "name.first"),
        (["card", "number"], "financial.credit_card"),
        (["addressLine1"], "contact.address.street"),
        (["name"], "name"),
        (["IPAddress"], "device.ip_address"),
    ]:
        kind = kind_of(names)
        assert kind is not None, names
        assert kind.category == category
    for names in (["product", "name"], ["price"], ["emailed"], ["panel"], [], ["mailing"]):
        assert kind_of(names) is None, names
    kind = kind_of(["price"], "password")
    assert kind is not None
    assert kind.do == "reject"


def test_the_words_are_those_of_the_taxonomy():
    from tidegate.privacy.taxonomy import DATA_CATEGORIES

    for kind in field_words():
        assert f"user.{kind.category}" in DATA_CATEGORIES, kind.category
        assert all(kind.names + tuple(kind.exact))
    every = [name for kind in field_words() for name in kind.names]
    assert all(one != other for one, other in pairwise(sorted(every)))


@pytest.mark.parametrize(
    "name",
    [
        "a: b",
        "x', do: drop}",
        'x", do: drop}',
        "a\n  - {at: body $, do: allow}",
        "# no comment",
        "\u001b[31m",
        "\u2028next",
        "\u202etxt",
        "%TAG",
        "{{7*7}}",
        "&anchor *alias",
        "💶",
    ],
)
def test_a_documents_names_are_names_and_nothing_else(tmp_path: Path, name: str):
    from tidegate.catalog.selectors import Step, written

    at = written("body", (Step("home"), Step(name)))
    declared = [] if at is None else [place(at, "string")]
    text = draft("crm", [Sends("PostPeople", (), [*declared, place("body $.a")])], TODAY, "sales")
    assert all(letter.isprintable() or letter == "\n" for letter in text)
    (policy,) = loaded(tmp_path, text).protection
    assert [rule.at for rule in policy.fields if not rule.at.endswith("[*]")] == [
        *([at] if at else []),
        "body $.a",
    ]
    assert all(rule.do.kind == "allow" or rule.at.endswith("[*]") for rule in policy.fields)


def test_an_operations_name_is_written_as_it_is(tmp_path: Path):
    name = 'Post "x"\u001b[31m: # y'
    (tmp_path / "tidegate.yaml").write_text(
        CRM.replace("{PostPeople: POST /people,", '{"Post \\"x\\"\\e[31m: # y": POST /people,')
        + "include: [draft.yaml]\n"
    )
    text = draft("crm", [Sends(name, (shape("query q"),), None)], TODAY, "sales")
    assert "\u001b" not in text
    (tmp_path / "draft.yaml").write_text(text)
    (policy,) = load(tmp_path).protection
    assert policy.operations == (("crm", name),)


def test_repeated_is_no_look():
    text = drafted(shape("query q", repeated=3))
    assert "looked like" not in text
