"""What goes to providers is declared field by field; what could not be told apart is refused with its place."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from support.declared import CRM

from tidegate.catalog import ConfigErrors, load, weaknesses
from tidegate.catalog.ad_signals import ad_signals
from tidegate.catalog.protection import Policies
from tidegate.catalog.selectors import WrongSelectorError, read_selector
from tidegate.domain.declaration import Declaration
from tidegate.domain.protection import FieldRule, Generalise, Mask, Plain
from tidegate.snapshot import changes, compile_snapshot

LINES = CRM.count("\n")


def declared(folder: Path, protection: str, *, head: str = CRM) -> Declaration:
    (folder / "tidegate.yaml").write_text(f"{head}protection:\n{protection}")
    return load(folder)


def policy(fields: str, more: str = "") -> str:
    return f'  - operations: ["crm:PostPeople"]\n    purpose: sales\n    fields: {fields}\n{more}'


def mistakes(folder: Path, protection: str) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        declared(folder, protection)
    return [f"{e.line - LINES - 1}: {e.message} {e.hint}" for e in caught.value.errors]


def test_a_policy_says_what_becomes_of_each_field(tmp_path: Path):
    found = declared(
        tmp_path,
        policy(
            '[{at: "body $.email", category: contact.email, do: allow},'
            ' {at: "body $.born", do: {generalise: month}},'
            ' {at: "body $.home.lat", do: {generalise: {geo: 2}}},'
            ' {at: "body $.card", do: {mask: 4}}, {at: "query debug", do: drop}]',
            "    report_until: 2027-01-31\n    unknown_fields: drop\n    bounds: {body: 2MiB}\n",
        ),
    )
    (one,) = found.protection
    assert one.fields == (
        FieldRule("body $.email", Plain("allow"), "contact.email"),
        FieldRule("body $.born", Generalise("month")),
        FieldRule("body $.home.lat", Generalise("geo", 2)),
        FieldRule("body $.card", Mask(4)),
        FieldRule("query debug", Plain("drop")),
    )
    assert (one.name, one.report_until, one.body_bytes) == (
        "protection[0]",
        date(2027, 1, 31),
        2 * 1024**2,
    )
    assert one.sends == ("contact.email",)
    assert Policies(found).of(found.providers[0]) == {0: one}


def test_the_engine_is_given_the_policy_once_with_its_operations(tmp_path: Path):
    text = '  - {operations: ["crm:*"], purpose: sales, fields: [{at: query q, do: {mask: 2}}]}\n'
    snapshot = json.loads(compile_snapshot(declared(tmp_path, text), 1, [], []))
    (written,) = snapshot["providers"][0]["protection"]
    assert written["operations"] == [0, 1]
    assert written["fields"] == [
        {"at": "query q", "category": None, "personal": False, "do": {"mask": {"keep": 2}}}
    ]


@pytest.mark.parametrize(
    ("protection", "said"),
    [
        (policy("[{at: body email, do: allow}]"), "3: `email` is not a place in a body"),
        (policy('[{at: "bdy $.a", do: allow}]'), "did you mean `body`?"),
        (policy("[{at: query, do: allow}]"), "does not say which field"),
        (policy("[{at: header Content-Length, do: drop}]"), "frames or routes the call"),
        (policy("[{at: query q, do: alow}]"), "did you mean `allow`?"),
        (policy("[{at: query q, do: {masc: 3}}]"), "what is done is `allow`, `drop`"),
        (policy("[{at: query q, do: {mask: 99}}]"), "less than or equal to 16"),
        (policy("[{at: query q, category: Contact, do: drop}]"), "is not a dotted word"),
        (policy("[{at: path id, do: drop}]"), "is another path"),
        (policy("[{at: part my file, do: drop}]"), "a name with a space cannot be selected"),
        (policy("[{at: part * filename, do: drop}]"), "name the part that it is in"),
        (
            policy("[{at: part a filename, repeated: true, do: drop}]"),
            "nothing repeats in what has one name",
        ),
        (policy("[{at: part a, do: drop}, {at: part a, do: allow}]"), "has a rule already"),
        (
            policy("[{at: csv a, do: drop, repeated: true}]"),
            "nothing repeats in a table's first row",
        ),
        (policy("[{at: xml order/email, do: drop}]"), "from the root on: `xml /order"),
        (policy("[{at: xml /a/@b/c, do: drop}]"), "is not a path of elements"),
        (policy("[{at: xml //a, do: drop}]"), "is not a path of elements"),
        (policy("[{at: xml /a/*, do: drop}, {at: xml /*/b, do: allow}]"), "can select one field"),
        (
            policy("[{at: xml /o:a/@p:b, do: drop}]", "    namespaces: {o: urn:o}\n"),
            "add `p` there, with its address",
        ),
        (policy("[{at: xml /a, do: drop}]", "    namespaces: {xmlo: urn:o}\n"), "is not a prefix"),
        (policy("[{at: xml /a, do: drop}]", "    namespaces: {o: a b}\n"), "as documents write it"),
        (
            policy("[{at: xml /a, do: drop}]", "    namespaces: {o: urn:o, p: urn:o}\n"),
            "two prefixes have one namespace",
        ),
        (
            policy("[{at: query a, do: drop}]", "    namespaces: {o: urn:o}\n"),
            "no rule of this policy",
        ),
        (policy("[{at: graphql (a), do: drop}]"), "is another query"),
        (policy("[{at: graphql a, do: {mask: 2}, repeated: true}]"), "nothing repeats"),
        (
            policy('[{at: "body $.a", do: drop}, {at: graphql a, do: drop}]'),
            "a GraphQL operation needs a policy of its own",
        ),
        (policy("[{at: query q, do: drop}, {at: query q, do: allow}]"), "has a rule already"),
        (
            policy('[{at: "body $.a[*].b", do: drop}, {at: "body $.*[0].b", do: allow}]'),
            "can select one field neither is more specific",
        ),
        (
            policy('[{at: "body $.a[0]", do: drop}, {at: body /a/0, do: allow}]'),
            "can select one field",
        ),
        ('  - {operations: ["crm:PostPeopel"], purpose: sales}\n', "did you mean `PostPeople`?"),
        ('  - {operations: ["cmr:PostPeople"], purpose: sales}\n', "did you mean `crm`?"),
        ("  - {operations: [crm], purpose: sales}\n", "write `PROVIDER:OPERATION`"),
        ('  - {operations: ["crm:*"]}\n', "`purpose` is missing"),
        ('  - {operations: ["crm:*"], purpose: sales, unknown_fields: keep}\n', "one of `reject`"),
        ('  - {operations: ["crm:*"], purpose: a, bounds: {body: 11MiB}}\n', "at most 10MiB"),
        (
            (
                '  - {operations: ["crm:*"], purpose: a}\n'
                '  - {operations: ["crm:GET /people/{id}"], purpose: b}\n'
            ),
            "2: the policy `protection[0]` has operations of `GET /people/{id}` already",
        ),
    ],
)
def test_a_mistake_is_told_with_its_place_and_what_would_be_right(
    tmp_path: Path, protection: str, said: str
):
    found = mistakes(tmp_path, protection)
    assert any(said in one for one in found), found


def test_the_namespaces_of_xml_are_the_policys(tmp_path: Path):
    found = declared(
        tmp_path,
        policy(
            "[{at: xml /s:Body/order/@xml:lang, do: drop}, {at: xml /straße, do: allow}]",
            '    namespaces: {s: "http://soap.example/", "": "urn:order"}\n',
        ),
    )
    written = json.loads(compile_snapshot(found, 1, [], []))["providers"][0]["protection"][0]
    assert written["namespaces"] == {"": "urn:order", "s": "http://soap.example/"}
    assert any("`xml /straße` lets fields go" in one.what for one in weaknesses(found))


@pytest.mark.parametrize(
    ("one", "other", "ties"),
    [
        ("body $.a[*].b", "body $.a.x.b", False),
        ("body $.a[*].b", "body $['a'][*][\"b\"]", True),
        ("body $.a", "body $.a.b", False),
        ("body $.*", "body $[*]", True),
        ("body $.a.*", "body $.*.b", True),
        ("body $.a[0]", "body $.a.b", False),
        ("body /a/0", "body $.a['0']", True),
        ("form metadata[*]", "form metadata[x]", False),
        ("form metadata[*]", "form *[x]", True),
        ("form email", "query email", False),
        ("header X-Email", "header x-email", True),
        ("part a[*]", "part *[b]", True),
        ("part a", "part a filename", False),
        ("part a", "part a $", False),
        ("part a $.b[*]", "part a $['b'].*", True),
        ("part a $.b", "part c $.b", False),
        ("part a $.b", "body $.b", False),
        ("csv a[b]", "csv a[b]", True),
        ("csv a", "csv *", False),
        ("xml /a/*", "xml /*/b", True),
        ("xml /a/b", "xml /a/*", False),
        ("xml /a/*", "xml /a/@b", False),
        ("xml /a/*/@c", "xml /*/b/@c", True),
        ("xml /a/*/@c", "xml /*/b/c", False),
        ("xml /a/@b", "xml /a/@c", False),
        ("graphql a", "graphql $.a", True),
        ("graphql a", "graphql (a)", False),
        ("graphql (a)", "graphql (a)", True),
        # Only the engine knows what these find.
        ("body $..b", "body $.a.b", False),
        ("body $.a[?@.b > 1]", "body $.a[*]", False),
    ],
)
def test_two_selectors_tie_where_one_field_can_be_found_by_both(
    one: str, other: str, *, ties: bool
):
    assert read_selector(one).ties(read_selector(other)) is ties
    assert read_selector(other).ties(read_selector(one)) is ties


@pytest.mark.parametrize(
    "text",
    [
        "graphql a.b",
        "graphql (a",
        "graphql a b",
        "part a b",
        "part * filename",
        "part a[*] $.b",
        "part a filenames",
        "body /a~2b",
        "body $." + "a." * 600,
        "path a/b",
        "header a b",
    ],
)
def test_a_selector_that_selects_nothing_is_refused(text: str):
    with pytest.raises(WrongSelectorError):
        read_selector(text)


def test_operations_without_a_policy_are_named_as_weak(tmp_path: Path):
    found = [w.what for w in weaknesses(declared(tmp_path, policy("[{at: query q, do: drop}]")))]
    assert any("`GetPerson`" in what and "unprotected: refuse" in what for what in found), found


def test_one_file_that_refuses_what_is_unprotected_makes_all_providers_refuse(tmp_path: Path):
    (tmp_path / "more.yaml").write_text("unprotected: refuse\n")
    head = CRM.replace("version: 1\n", "version: 1\ninclude: [more.yaml]\n")
    found = declared(tmp_path, policy("[]"), head=head)
    snapshot = json.loads(compile_snapshot(found, 1, [], []))
    assert snapshot["providers"][0]["unprotected"] == "refuse"
    assert not any("no policy" in weakness.what for weakness in weaknesses(found))


def test_a_grant_may_refuse_what_is_unprotected(tmp_path: Path):
    head = CRM.replace('["*"]}', '["*"], unprotected: refuse}')
    snapshot = json.loads(compile_snapshot(declared(tmp_path, policy("[]"), head=head), 1, [], []))
    assert snapshot["grants"][0]["unprotected"] == "refuse"
    assert "unprotected" not in snapshot["providers"][0]


def test_a_policys_difference_is_told_by_its_name(tmp_path: Path):
    before = declared(tmp_path, policy("[{at: query q, do: drop}]"))
    after = declared(tmp_path, policy("[{at: query q, do: allow}]"))
    (change,) = changes(before, after)
    assert change.path == "protection.protection[0].fields"


def asking(more: str = "", fields: str = "", purpose: str = "marketing.advertising") -> str:
    fields = fields or '[{at: "body $.email", category: contact.email, do: allow}]'
    return (
        f'  - operations: ["crm:PostPeople"]\n    purpose: {purpose}\n    fields: {fields}\n{more}'
    )


def asked(declaration: Declaration) -> Any:
    snapshot = json.loads(compile_snapshot(declaration, 1, (), ()))
    return snapshot["providers"][0]["protection"][0].get("consent")


def test_advertising_asks_for_the_consent_of_whom_it_is_about(tmp_path: Path):
    thirteen_months = 395 * 86_400
    assert asked(declared(tmp_path, asking())) == {
        "max_age_s": thirteen_months,
        "sells": True,
        "drop": False,
        "tcf": {"purposes": [1, 3, 4, 7], "vendor": None},
    }
    for purpose in ("advertising", "advertising.serving", "marketing.advertising.first_party"):
        assert asked(declared(tmp_path, asking(purpose=purpose)))
    for purpose in ("sales", "marketing", "marketing.communications.email"):
        assert asked(declared(tmp_path, asking(purpose=purpose))) is None
    more = "    consent: required\n    consent_max_age: 90d\n    without_consent: drop\n"
    assert asked(declared(tmp_path, asking(more, purpose="analytics"))) == {
        "max_age_s": 90 * 86_400,
        "sells": False,
        "drop": True,
    }
    more += "    tcf_purposes: [7, 1, 7]\n    tcf_vendor: 755\n"
    tagged = asked(declared(tmp_path, asking(more, purpose="analytics")))
    assert tagged["tcf"] == {"purposes": [1, 7], "vendor": 755}


def test_what_sends_nothing_personal_asks_nobody(tmp_path: Path):
    none = '[{at: "body $.name", category: none, do: allow}, {at: "body $.email", do: drop}]'
    assert asked(declared(tmp_path, asking(fields=none))) is None
    # While it only reports, what it would leave out goes too.
    assert asked(declared(tmp_path, asking("    report_until: 2999-01-01\n", none)))
    assert asked(declared(tmp_path, asking("    report_until: 2020-01-01\n", none))) is None
    unsaid = '[{at: "body $.name", do: allow}]'
    assert asked(declared(tmp_path, asking(fields=unsaid)))
    assert asked(declared(tmp_path, asking("    categories: [contact]\n", none)))


@pytest.mark.parametrize(
    ("policy_", "message"),
    [
        (asking("    consent_max_age: 396d\n"), "395d"),
        (asking("    consent: optional\n"), "required"),
        (asking("    tcf_vendor: 755\n", purpose="sales"), "consent: required"),
        (asking("    tcf_vendor: 65536\n"), "65535"),
        (asking("    tcf_purposes: [0]\n"), "1"),
        (asking("    without_consent: drop\n", purpose="sales"), "consent: required"),
        (asking("    consent_max_age: 9d\n", purpose="sales"), "consent: required"),
        (asking("    without_consent: drop\n    categories: [contact]\n"), "no field says where"),
    ],
)
def test_consent_that_could_not_be_asked_for_is_refused(tmp_path: Path, policy_: str, message: str):
    assert any(message in one for one in mistakes(tmp_path, policy_))


def test_a_personal_part_of_a_path_cannot_be_left_out(tmp_path: Path):
    text = asking("    without_consent: drop\n", "[{at: path id, do: allow}]").replace(
        "PostPeople", "GetPerson"
    )
    assert any("another path" in one for one in mistakes(tmp_path, text))
    fine = text.replace("do: allow", "category: none, do: allow")
    assert declared(tmp_path, fine)


def test_what_providers_are_told_is_json_with_a_place(tmp_path: Path):
    for product, signals in ad_signals().items():
        written = asked(declared(tmp_path, asking(f"    signals: {product}\n")))
        assert [tuple(one["at"]) for one in written["signals"]] == [one.at for one in signals]
        for one in signals:
            assert one.at[-1]
            assert [json.loads(said) for said in (one.granted, one.denied) if said]
    assert any("google_ads" in one for one in mistakes(tmp_path, asking("    signals: google\n")))
    idle = asking("    signals: meta\n", purpose="sales")
    assert any("consent: required" in one for one in mistakes(tmp_path, idle))


@pytest.mark.parametrize(
    ("said", "one_in"),
    [("", 0), ("observe: false", 0), ("observe: true", 10), ("observe: {one_in: 3}", 3)],
)
def test_what_is_observed_is_asked_for(tmp_path: Path, said: str, one_in: int):
    head = CRM.replace("    auth: bearer\n", f"    auth: bearer\n    {said}\n")
    (provider,) = declared(tmp_path, policy("[]"), head=head).providers
    assert provider.observe == one_in
    compiled = json.loads(compile_snapshot(load(tmp_path), 1, (), ()))
    assert compiled["providers"][0].get("observe", 0) == one_in


@pytest.mark.parametrize("said", ["yes please", "{one_in: 0}", "{every: 3}", "3"])
def test_what_is_observed_is_said_in_its_own_words(tmp_path: Path, said: str):
    head = CRM.replace("    auth: bearer\n", f"    auth: bearer\n    observe: {said}\n")
    with pytest.raises(ConfigErrors):
        declared(tmp_path, policy("[]"), head=head)
