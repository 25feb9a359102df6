from __future__ import annotations

import copy
import json
import logging
import pickle
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass

import pytest

from tidegate.domain.secret import Secret

CANARY = "canary-51c2"


@dataclass(frozen=True)
class Holder:
    secret: Secret


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        "{}".format,
        lambda secret: f"{secret:>40}",
        lambda secret: f"{secret!r}",
        lambda secret: "%s" % secret,  # noqa: UP031 - one of the ways
        lambda secret: repr(Holder(secret)),
        lambda secret: repr([{"k": secret}]),
        lambda secret: str(ValueError(secret)),
        lambda secret: "".join(traceback.format_exception(ValueError(secret))),
        lambda secret: logging.LogRecord("n", 1, "p", 1, "%s", (secret,), None).getMessage(),
    ],
)
def test_no_common_way_of_showing_shows_it(show: Callable[[Secret], str]):
    shown = show(Secret(CANARY))
    assert CANARY not in shown
    assert "Secret(…)" in shown


@pytest.mark.parametrize(
    "act",
    [
        pickle.dumps,
        copy.copy,
        copy.deepcopy,
        json.dumps,
        hash,
        bytes,
        iter,
        vars,
        lambda secret: asdict(Holder(secret)),
        lambda secret: secret == Secret(CANARY),
        lambda secret: secret != Secret(CANARY),
        lambda secret: secret in {"a": 1},
        lambda secret: secret + "x",
    ],
)
def test_it_is_not_copied_compared_or_taken_apart(act: Callable[[Secret], object]):
    with pytest.raises(TypeError) as refused:
        act(Secret(CANARY))
    assert CANARY not in str(refused.value)


def test_it_is_revealed_in_one_way():
    assert Secret(CANARY).reveal() == CANARY.encode()
    assert Secret(bytearray(b"\0\xff")).reveal() == b"\0\xff"
    assert [name for name in dir(Secret) if not name.startswith("_")] == ["matches", "reveal"]


def test_it_matches_its_equal_alone():
    assert Secret(CANARY).matches(Secret(CANARY.encode()))
    assert not Secret(CANARY).matches(Secret("other"))


def test_it_tells_its_length():
    assert len(Secret("abc")) == 3
    assert Secret("x")
    assert not Secret("")
