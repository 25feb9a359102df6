"""`agreements` and `acts`: what people type, and what they are told."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tidegate.app import Services
from tidegate.app.agreeing import AgreementWatch
from tidegate.app.services import load_declaration

AGREEMENT = """\
name: acme-mail-dpa
kind: dpa
provider: mail
clients: [acme]
parties: [Acme GmbH, Mail SE]
role: processor
categories: [contact]
subjects: [customer]
purposes: [marketing.email]
regions: [eu, us]
transfer: {tool: scc, assessment: TIA-2026-04}
subprocessors:
  - {name: Cloud Inc, region: us, reviewed: 2026-05-01}
retention: until the contract ends
breach_contact: privacy@mail.test
document: signed.pdf
from: 2026-01-01
until: 2099-01-01T12:00:00+02:00
"""
SIGNED = b"%PDF the signed paper"


@pytest.fixture
def file(environment: Path) -> Path:
    (environment / "signed.pdf").write_bytes(SIGNED)
    made = environment / "dpa.yaml"
    made.write_text(AGREEMENT)
    return made


def test_an_agreement_is_recorded_with_the_digest_of_its_document(applied, file: Path):
    ended = applied("agreements", "add", str(file), "--as", "anna")
    assert ended.code == 0, ended.err
    digest = hashlib.sha256(SIGNED).hexdigest()
    assert digest in ended.out
    known = json.loads(applied("agreements", "list", "--json").out)["agreements"]
    assert [(one["name"], one["document"]) for one in known] == [("acme-mail-dpa", digest)]
    assert known[0]["ends"] == "2099-01-01T10:00:00+00:00"
    shown = applied("agreements", "show", "acme-mail-dpa").out
    for words in ("Acme GmbH, Mail SE", "scc TIA-2026-04", "Cloud Inc (us, reviewed 2026-05-01)"):
        assert words in shown
    assert "agreement.add by anna" in shown


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("kind: dpa", "kind: dba", "did you mean `dpa`?"),
        ("provider: mail", "provider: mial", "did you mean `mail`?"),
        ("clients: [acme]", "clients: [acmee]", "did you mean `acme`?"),
        ("clients: [acme]", "clients: []", "this is empty"),
        ("purposes: [marketing.email]", "purpose: [x]", "did you mean `purposes`?"),
        ("categories: [contact]", "categories: [Contact]", "is not a dotted word"),
        ("regions: [eu, us]", "regions: [Europe]", "is not a region"),
        ("document: signed.pdf", "document: lost.pdf", "cannot be read"),
        ("document: signed.pdf", "document: sha256:12", "64 hexadecimal digits"),
        ("from: 2026-01-01", "from: yesterday", "this is not a date"),
        ("2099-01-01T12:00:00+02:00", "2099-01-01T12:00:00", "needs its zone"),
        ("2099-01-01T12:00:00+02:00", "2025-01-01", "it ends before it begins"),
        (", assessment: TIA-2026-04", "", "needs an `assessment`"),
        ("kind: dpa", "kind: scc\ntransfer: {tool: bcr, assessment: x}", "a second time"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_nothing_is_recorded(
    applied, file: Path, old: str, new: str, said: str
):
    assert old in AGREEMENT
    file.write_text(AGREEMENT.replace(old, new))
    ended = applied("agreements", "add", str(file))
    assert ended.code == 1
    assert said in ended.err
    assert "dpa.yaml" in ended.err
    assert json.loads(applied("agreements", "list", "--json").out)["agreements"] == []


def test_clauses_have_a_transfer_by_them(applied, file: Path):
    file.write_text(AGREEMENT.replace("kind: dpa", "kind: scc").replace("tool: scc", "tool: bcr"))
    assert "a transfer's tool" in applied("agreements", "add", str(file)).err


def test_the_end_of_one_is_an_act_and_nothing_is_taken_out(applied, file: Path):
    applied("agreements", "add", str(file), "--as", "anna")
    assert applied("agreements", "end", "acme-mail-dpa", "--as", "boris").code == 0
    assert "ended" in applied("agreements", "list").out
    told = json.loads(applied("acts", "list", "--json").out)
    assert [(act["act"], act["operator"]) for act in told] == [
        ("agreement.add", "anna"),
        ("agreement.end", "boris"),
    ]
    assert "did you mean" in applied("agreements", "end", "acme-mail-dba").err
    assert "is no time" in applied("agreements", "end", "acme-mail-dpa", "--at", "soon").err


def test_warnings_name_what_ends_soon_and_what_nobody_reviewed(applied, file: Path):
    assert "nothing to warn of" in applied("agreements", "warnings").out
    file.write_text(AGREEMENT.replace("2026-05-01", "2020-05-01"))
    applied("agreements", "add", str(file))
    assert "`Cloud Inc` was last reviewed 2020-05-01" in applied("agreements", "warnings").out


def test_an_override_takes_two_people(applied):
    ask = ["agreements", "override", "ask", "mail", "--client", "acme", "--category", "contact"]
    ask += ["--purpose", "marketing.email", "--reason", "the paper is in the post"]
    assert "did you mean `acme`?" in applied(*[w.replace("acme", "acmee") for w in ask]).err
    assert "between 1 and 72" in applied(*ask, "--hours", "73").err
    asked = applied(*ask, "--as", "anna").out
    override = next(word.strip(";") for word in asked.split() if word.startswith("ovr_"))
    approve = ["agreements", "override", "approve", override]
    refused = applied(*approve, "--as", "Anna")
    assert refused.code == 1
    assert "cannot approve" in refused.err
    assert applied(*approve, "--as", "boris").code == 0
    listed = applied("agreements", "list").out
    assert override in listed
    assert "anna, boris" in listed
    assert applied("agreements", "override", "revoke", override, "--as", "anna").code == 0
    assert "revoked" in applied("agreements", "list").out


def test_acts_verify_and_a_head_that_was_noted_is_looked_for(applied, file: Path):
    applied("agreements", "add", str(file))
    told = json.loads(applied("acts", "verify", "--json").out)
    assert (told["ok"], told["acts"]) == (True, 1)
    applied("agreements", "end", "acme-mail-dpa")
    assert applied("acts", "verify", "--head", told["head"]).code == 0
    other = f"1:{'0' * 64}"
    assert "is not the one that was noted" in applied("acts", "verify", "--head", other).err
    assert "NUMBER:MAC" in applied("acts", "verify", "--head", "x").err


def test_the_machines_word_on_who_acts_cannot_be_set(
    applied, file: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("USER", "mallory")
    monkeypatch.setenv("LOGNAME", "mallory")
    applied("agreements", "add", str(file), "--as", "anna")
    (act,) = json.loads(applied("acts", "list", "--json").out)
    assert act["operator"] == "anna"
    assert act["login"] != "mallory"


POLICY = """\
  - {consumer: shop, provider: mail, operations: [Send], clients: [acme]}
protection:
  - operations: [mail:Send]
    purpose: marketing.email
    subjects: [customer]
    legal_basis: legitimate_interests
    fields: [{at: body $.to, category: contact.email, do: allow}]
"""


@pytest.fixture
def policy(environment: Path) -> Path:
    declared = environment / "tidegate.yaml"
    declared.write_text(declared.read_text() + POLICY)
    return declared


def test_check_says_nothing_of_agreements_where_there_is_no_store_and_makes_none(
    tidegate, policy: Path
):
    ended = tidegate("check")
    assert (ended.code, "agreement" in ended.out) == (0, False)
    assert not (policy.parents[1] / "home").exists()


def test_check_names_what_a_policy_lets_go_and_no_agreement_does(applied, policy: Path, file: Path):
    missing = "no agreement in force lets `contact.email` of `acme` go to `mail`"
    assert f"weak protection[0]: {missing}" in " ".join(applied("check").out.split())
    assert applied("apply").code == 0
    applied("agreements", "add", str(file))
    assert missing not in " ".join(applied("check").out.split())
    policy.write_text(policy.read_text().replace("[Send], clients: [acme]", "[Send]"))
    weak = json.loads(applied("check", "--json").out)["weaknesses"]
    (gap,) = (one["what"] for one in weak if one["where"] == "protection[0]")
    # No grant lets it act for others than these two, and acme has its agreement.
    assert "of `globex` go to" in gap
    applied("agreements", "end", "acme-mail-dpa")
    told = applied("check").out
    assert "weak  agreements.acme-mail-dpa: ended at" in told
    assert "`acme`, `globex`" in " ".join(told.split())


def test_a_running_gateway_tells_of_each_once_a_day(
    applied, policy: Path, file: Path, state: Services
):
    clock = [0.0]
    watch = AgreementWatch(state, lambda: clock[0])
    declaration = load_declaration(policy)
    applied("agreements", "add", str(file))
    applied("agreements", "end", "acme-mail-dpa")

    def told_after(seconds: float) -> list[str]:
        clock[0] += seconds
        with capture_logs() as logs:
            watch.look(declaration)
        return [entry["event"] for entry in logs]

    both = ["agreement_ended", "agreement_missing"]
    assert told_after(0) == both
    assert told_after(3_600) == []
    assert told_after(86_400) == both
