"""The control socket: who may ask, in what form, and what is bounded."""

from __future__ import annotations

import json
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from support.gate import home
from support.servers import wait_until

from tidegate.app import Home
from tidegate.app.asking import CannotAskError, ask
from tidegate.app.control import (
    CONNECTIONS_MAX,
    QUESTION_BYTES_MAX,
    CannotAnswerError,
    Control,
    Question,
    reachable,
)


class Forget(Question):
    client: str
    how: Literal["all", "stale"] = "all"


def forget(question: Forget) -> object:
    if question.client == "nobody":
        raise CannotAnswerError("there is no client `nobody`", "ask for one that there is")
    return {"forgot": question.client, "how": question.how}


def fail(_: Question) -> object:
    raise RuntimeError("a value that nobody is told")


@pytest.fixture
def place(tmp_path: Path) -> Home:
    made = home(tmp_path)
    made.prepare()
    return made


@pytest.fixture
def control(place: Home) -> Iterator[Control]:
    made = Control(place.control)
    made.answers("ping", Question, lambda _: "pong")
    made.answers("forget", Forget, forget)
    made.answers("fail", Question, fail)
    made.start()
    yield made
    made.stop()


def connected(place: Home) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(20)
    with reachable(place.control) as path:
        connection.connect(path)
    return connection


def told(connection: socket.socket) -> dict[str, str]:
    return json.loads(connection.makefile("rb").readline())


def test_a_question_is_answered(place: Home, control: Control):
    assert ask(place, "ping") == "pong"
    assert ask(place, "forget", client="acme", how="stale") == {"forgot": "acme", "how": "stale"}


def test_several_questions_fit_on_one_connection(place: Home, control: Control):
    with connected(place) as connection:
        for _ in range(3):
            connection.sendall(b'{"ask": "ping"}\n')
            assert told(connection) == {"answer": "pong"}


def test_the_socket_is_for_this_user_alone(place: Home, control: Control):
    assert stat.S_IMODE(place.control.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.data.stat().st_mode) == 0o700


def test_without_a_gateway_there_is_nobody_to_ask(place: Home):
    with pytest.raises(CannotAskError, match="no gateway runs") as told:
        ask(place, "ping")
    assert "tidegate up" in told.value.hint


def test_a_socket_that_a_dead_gateway_left_is_replaced_and_gone_after_a_stop(place: Home):
    left = socket.socket(socket.AF_UNIX)
    with reachable(place.control) as path:
        left.bind(path)
    left.close()
    with pytest.raises(CannotAskError, match="no gateway runs"):
        ask(place, "ping")
    again = Control(place.control)
    again.answers("ping", Question, lambda _: "pong")
    again.start()
    assert ask(place, "ping") == "pong"
    again.stop()
    assert not place.control.exists()


def test_a_deep_folder_is_no_hindrance(tmp_path: Path):
    deep = home(tmp_path / ("d" * 120) / ("e" * 120))
    deep.prepare()
    control = Control(deep.control)
    control.answers("ping", Question, lambda _: "pong")
    control.start()
    assert ask(deep, "ping") == "pong"
    control.stop()


@pytest.mark.parametrize(
    ("details", "said"),
    [
        ({}, "at `client`: Field required"),
        ({"client": 1}, "at `client`: Input should be a valid string"),
        ({"client": "acme", "how": "half"}, "at `how`: Input should be 'all' or 'stale'"),
        ({"client": "acme", "more": 1}, "at `more`: Extra inputs are not permitted"),
    ],
)
def test_a_question_of_another_form_is_told_where_and_without_its_values(
    place: Home, control: Control, details: dict[str, object], said: str
):
    with pytest.raises(CannotAskError, match=said):
        ask(place, "forget", **details)


def test_a_refusal_comes_with_its_hint(place: Home, control: Control):
    with pytest.raises(CannotAskError, match="no client `nobody`") as told:
        ask(place, "forget", client="nobody")
    assert told.value.hint == "ask for one that there is"


def test_a_question_nobody_knows_is_told_with_the_one_that_was_meant(place: Home, control: Control):
    with pytest.raises(CannotAskError, match="does not know the question `pin`") as told:
        ask(place, "pin")
    assert told.value.hint == "did you mean `ping`?"


def test_what_fails_inside_says_nothing_of_itself(place: Home, control: Control):
    with pytest.raises(CannotAskError, match="the gateway failed to answer") as told:
        ask(place, "fail")
    assert "value" not in str(told.value) + told.value.hint
    assert ask(place, "ping") == "pong"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{\n", "a question is `"),
        (b"\xff\xfe\n", "a question is `"),
        (b"[" * 30_000 + b"\n", "a question is `"),
        (b"[]\n", "a question is `"),
        (b'{"ask": 1}\n', "a question is `"),
        (b'{"ask": "ping", "with": []}\n', "a question is `"),
        (b"x" * QUESTION_BYTES_MAX + b"\n", "at most 64 KiB"),
    ],
)
def test_what_is_no_question_is_told_so(place: Home, control: Control, line: bytes, said: str):
    with connected(place) as connection:
        connection.sendall(line)
        assert said in told(connection)["error"]


def test_a_line_at_the_bound_is_read(place: Home, control: Control):
    line = b'{"ask": "ping"}'
    with connected(place) as connection:
        connection.sendall(line.ljust(QUESTION_BYTES_MAX - 1) + b"\n")
        assert told(connection) == {"answer": "pong"}


def test_beyond_so_many_connections_the_next_is_closed_and_room_comes_back(
    place: Home, control: Control
):
    held = [connected(place) for _ in range(CONNECTIONS_MAX)]
    for one in held:
        one.sendall(b'{"ask": "ping"}\n')
        assert told(one) == {"answer": "pong"}
    with pytest.raises(CannotAskError, match="does not answer"):
        ask(place, "ping")
    for one in held:
        one.close()

    def answered() -> bool:
        try:
            return ask(place, "ping") == "pong"
        except CannotAskError:
            return False

    wait_until(answered)
    assert threading.active_count() < CONNECTIONS_MAX
