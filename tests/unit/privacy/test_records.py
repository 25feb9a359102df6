"""Records say what went, what is missing, and nothing of anybody else; what comes from outside is escaped."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from support import processing as made
from support.processing import ACME, DECLARATION, FLOWS, GLOBEX, NOW, PAY

from tidegate.privacy.errors import CannotReportError
from tidegate.privacy.flowmap import as_json, as_mermaid, flow_map, picture
from tidegate.privacy.manifest import manifest
from tidegate.privacy.pages import page, pdf
from tidegate.privacy.processing import Processing
from tidegate.privacy.sheets import csv_of
from tidegate.privacy.taxonomy import DATA_USES
from tidegate.privacy.unsent import unsent

JUDGE = Path(__file__).parents[3] / ".cache/fideslang-venv/bin/python"


def controller(one: Processing) -> str:
    return page(
        "controller.html",
        version="0",
        made_at=NOW,
        revision=1,
        special_names=set[str](),
        organisation=DECLARATION.organisation,
        client=one.client,
        activities=one.activities,
        unlisted=one.unlisted,
        missing=one.missing,
    )


def test_an_activity_says_who_gets_what_by_which_agreement():
    found = {one.purpose: one for one in made.of(ACME).activities}
    paying = found[PAY]
    (recipient,) = paying.recipients
    assert paying.legal_bases == ("contract",)
    assert recipient.sent == ("contact.email", "name")
    assert "contact.phone_number" in recipient.may
    assert recipient.calls == 48_211
    assert [one.name for one in recipient.agreements] == ["payments-dpa-2025"]
    assert recipient.regions == ("eu", "us")
    assert found["appointments"].special == ("health.complaint",)


def test_what_is_missing_is_told_with_its_place():
    places = {one.where for one in made.of(GLOBEX).missing}
    assert {"clients.globex.legal_name", "clients.globex.dpo"} <= places
    told = [one.what for one in made.of(ACME).missing]
    assert any("agreement in force with `clinic`" in what for what in told)
    assert any("1 called operations" in what for what in told)


def test_one_clients_record_holds_nothing_of_another():
    html = controller(made.of(GLOBEX))
    assert "Acme" not in html
    assert "48" not in html.partition("<body>")[2].replace("\u202f", "")
    assert "Payments International" in html, "a policy lets it be called, and nothing went so far"
    assert "Globex" not in controller(made.of(ACME))


def test_names_that_look_like_markup_are_text():
    html = controller(made.of(GLOBEX))
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_a_map_shows_what_is_not_governed_and_what_no_policy_lists():
    graph = flow_map([made.of(ACME)])
    kinds = {node["id"]: node["kind"] for node in as_json(graph)["nodes"]}
    assert kinds["category:health.complaint"] == "special"
    assert kinds["recipient:clinic"] == "ungoverned"
    assert kinds["category:"] == "unlisted"
    idle = [e for e in as_json(graph)["edges"] if not e["calls"]]
    assert [(e["from"], e["to"]) for e in idle] == [
        ("category:contact.phone_number", f"purpose:{PAY}")
    ]
    assert len(picture(graph).boxes) == len(graph.nodes)


def test_mermaid_reads_no_name_as_its_own_syntax():
    provider = replace(made.MAILER, title='"]; click n0 "javascript:x" %%')
    declaration = replace(DECLARATION, providers=(made.PAYMENTS, provider, made.CLINIC))
    one = made.processing(declaration, ACME, FLOWS, (), called={("mailer", "Forget"): 1}, now=NOW)
    drawn = as_mermaid(flow_map([one]))
    assert "javascript:" not in drawn
    assert '"];' not in drawn


def test_a_manifest_is_one_that_fideslang_takes(tmp_path: Path):
    assert JUDGE.exists(), "run `tools/setup.sh test`"
    file = tmp_path / "manifest.yml"
    file.write_text(manifest(DECLARATION.organisation, made.of(ACME)))
    judge = (
        "import sys, yaml, json; from fideslang.models import Taxonomy;"
        "from fideslang.default_taxonomy import DEFAULT_TAXONOMY as known;"
        "t = Taxonomy(**yaml.safe_load(open(sys.argv[1])));"
        "print(json.dumps([len(t.system), len(t.organization),"
        " sorted({k.fides_key for k in known.data_use}),"
        " sorted(d.data_use for s in t.system for d in s.privacy_declarations)]))"
    )
    ended = subprocess.run([JUDGE, "-c", judge, file], capture_output=True, text=True, check=True)
    systems, organizations, known, uses = json.loads(ended.stdout)
    assert (systems, organizations) == (3, 1)
    assert set(known) == DATA_USES
    assert uses == sorted(made.USES)


def test_a_rule_is_unsent_when_it_stood_and_nothing_went():
    since = NOW - timedelta(days=90)
    found = unsent(DECLARATION, DECLARATION, FLOWS, since)
    assert [one.at for one in found.fields] == ["form phone"]
    assert found.young == 0
    young = unsent(DECLARATION, None, FLOWS, since)
    assert (young.fields, young.young) == ((), 1)
    late = [replace(one, last=since - timedelta(days=1)) for one in FLOWS]
    assert len(unsent(DECLARATION, DECLARATION, late, since).fields) == 7


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx", "\r=1", " =1", "\uff1d1"])
def test_no_cell_is_a_formula(text: str):
    cell = csv_of(("a",), [(text,)]).split("\r\n", 1)[1].lstrip('"')
    assert cell.startswith("'")


def test_a_page_becomes_paper_and_loads_nothing():
    assert pdf(controller(made.of(ACME))).startswith(b"%PDF-")
    with pytest.raises(CannotReportError):
        pdf('<link rel="stylesheet" href="https://elsewhere.example/x.css"><p>x')
