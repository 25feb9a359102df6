"""The list of problems and its documentation say the same."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tidegate.problems import PROBLEMS, Problem

PAGES = Path(__file__).parents[2] / "docs" / "problems"
INDEX = (PAGES / "index.md").read_text()


def test_every_problem_has_a_page_and_every_page_a_problem():
    assert {page.stem for page in PAGES.iterdir()} == {*PROBLEMS, "index"}


def test_the_list_of_the_pages_is_the_list_of_the_problems():
    rows = re.findall(r"^\| \[`(\w+)`\]\((\w+)\.md\) \| (\d+) \| (.+) \|$", INDEX, re.MULTILINE)
    assert [(code, page, int(status), title) for code, page, status, title in rows] == [
        (one.code, one.code, one.status, one.title)
        for one in sorted(PROBLEMS.values(), key=lambda one: one.code)
    ]


@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=lambda problem: problem.code)
def test_page_says_what_happened_which_rule_what_to_change_and_shows_an_answer(problem: Problem):
    page = (PAGES / f"{problem.code}.md").read_text()
    assert page.startswith(f"# {problem.title}\n\n`{problem.code}` · status {problem.status} · ")
    headings = re.findall(r"^## (.+)$", page, re.MULTILINE)
    assert headings == ["What happened", "Which rule", "What to change", "An answer"]


@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=lambda problem: problem.code)
def test_the_answer_on_a_page_is_the_problem_document(problem: Problem):
    page = (PAGES / f"{problem.code}.md").read_text()
    example = re.search(r"```http\nHTTP/1\.1 (\d{3}) .*?\n\n(\{.*?\n\})\n```", page, re.DOTALL)
    assert example is not None
    document = json.loads(example[2])
    assert int(example[1]) == problem.status
    assert document["type"] == problem.type
    assert {key: document[key] for key in ("code", "status", "title")} == {
        "code": problem.code,
        "status": problem.status,
        "title": problem.title,
    }


def test_a_type_is_a_name_that_needs_no_host():
    assert PROBLEMS["denied"].type == "urn:tidegate:problem:denied"


def test_codes_are_words_that_a_program_can_compare():
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in PROBLEMS)
