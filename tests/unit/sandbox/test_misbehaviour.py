"""Every misbehaviour has one text form, and a wrong one says what may stand there."""

from __future__ import annotations

import pytest

from tidegate.sandbox.misbehaviour import (
    Big,
    Cut,
    Echo,
    Fail,
    Mirror,
    Redirect,
    Rule,
    Slow,
    Sse,
    Trickle,
    parse,
    parse_rule,
)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("slow:2", Slow(2)),
        ("slow:0.5s", Slow(0.5)),
        ("trickle:0.1", Trickle(0.1)),
        ("fail:503", Fail(503)),
        ("fail", Fail(500)),
        ("redirect:same", Redirect("same")),
        ("redirect:https://else.test/?a=b", Redirect("https://else.test/?a=b")),
        ("echo", Echo()),
        ("mirror", Mirror()),
        ("cut:10", Cut(10)),
        ("big:1000", Big(1000)),
        ("sse:3", Sse(3)),
        ("sse:3@0.1", Sse(3, 0.1)),
    ],
)
def test_text_form_is_read(text: str, meant: object):
    assert parse(text) == meant


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("explode", "no misbehaviour; there is slow"),
        ("slow:never", "seconds"),
        ("slow:1e9", "seconds"),
        ("slow:nan", "seconds"),
        ("fail:200", "from 400 to 599"),
        ("fail:600", "up to 599"),
        ("big:-1", "whole number"),
        ("big:" + "9" * 5000, "whole number"),
        ("redirect:nowhere", "redirect to"),
        ("echo:loud", "nothing after"),
    ],
)
def test_wrong_text_says_what_may_stand_there(text: str, complaint: str):
    with pytest.raises(ValueError, match=complaint):
        parse(text)


def test_rule_names_paths_and_perhaps_a_method():
    rule = parse_rule("GET /v1/*=redirect:https://else.test/?a=b")
    assert rule == Rule("GET /v1/*", Redirect("https://else.test/?a=b"))
    assert rule.covers("GET", "/v1/charges")
    assert not rule.covers("POST", "/v1/charges")
    assert not rule.covers("GET", "/v2/charges")
    assert parse_rule("/v1/x=fail").covers("DELETE", "/v1/x")


@pytest.mark.parametrize("text", ["fail:503", "=fail", "/v1"])
def test_rule_without_a_path_or_misbehaviour_is_refused(text: str):
    with pytest.raises(ValueError, match="a rule is"):
        parse_rule(text)
