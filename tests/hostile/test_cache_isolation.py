"""What is stored for one client, connection or credential is given to no other."""

from __future__ import annotations

import random  # noqa: TID251 - seeded, so that each run asks for the same
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from support.caching import Reply, Request, Scene, scene
from support.passage import key_of
from support.running import wait_until

from tidegate.app import load_declaration
from tidegate.domain.secret import Secret

CLIENTS = ("acme", "globex", "initech")
CALLS = 1_500
SHARED = """
      mode: public
      operations:
        "PUT /{name}": {mode: off}"""


def whose(request: Request) -> Reply:
    """Say whose credential came; the gateway would strike the credential itself out."""
    client = request.headers["authorization"].removeprefix("Bearer key_of_")
    return Reply(f"for {client}", headers={"Cache-Control": "max-age=600"})


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    everyone = (*CLIENTS, "umbrella")
    with scene(tmp_path_factory.mktemp("apart"), "{stale_if_error: 1h}", clients=everyone) as made:
        yield made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with scene(tmp_path_factory.mktemp("shared"), SHARED, clients=CLIENTS) as made:
        yield made


def test_no_client_is_given_what_is_stored_for_another(apart: Scene):
    for number in range(8):
        apart.provider.answers[f"/own{number}"] = whose
    chance = random.Random(7)
    asked = [(chance.choice(CLIENTS), chance.randrange(8)) for _ in range(CALLS)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda one: apart.call(f"/own{one[1]}", client=one[0]), asked))
    for (client, _), answer in zip(asked, answers, strict=True):
        assert answer.text == f"for {client}"
    assert sum("hit" in answer.headers["cache-status"] for answer in answers) > CALLS // 2
    assert len(apart.provider.seen) <= len(CLIENTS) * 8 * 8


def test_an_authorised_answer_is_for_all_only_where_the_provider_says_so(shared: Scene):
    shared.provider.answers["/plain"] = whose
    for client in CLIENTS:
        answer = shared.call("/plain", client=client)
        assert answer.text == f"for {client}"
        assert answer.headers["cache-status"].endswith("detail=authorised")
    shared.provider.say("/open", "for all", Cache_Control="public, max-age=600")
    ways = [shared.way("/open", client=client) for client in CLIENTS]
    assert ways[0].endswith("stored")
    assert all(way.startswith("tidegate; hit") for way in ways[1:])


@pytest.mark.parametrize("said", ["private, max-age=600", "no-store", "max-age=600"])
def test_what_is_marked_private_is_not_shared(shared: Scene, said: str):
    shared.provider.answers["/marked"] = lambda request: replace(
        whose(request), headers={"Cache-Control": said}
    )
    assert [shared.call("/marked", client=client).text for client in CLIENTS] == [
        f"for {c}" for c in CLIENTS
    ]


def test_a_credential_entered_anew_is_another_principal(apart: Scene):
    apart.provider.answers["/account"] = lambda request: Reply(
        request.headers["authorization"][-9:-4], headers={"Cache-Control": "max-age=600"}
    )
    before = apart.call("/account", client="umbrella").text
    state = apart.passage.gateway.state
    declaration = load_declaration(apart.passage.gateway.file)
    anew = {"token": Secret("another-account-of-umbrella")}
    state.connections.connect(declaration, "there", "umbrella", "default", anew, {})
    wait_until(lambda: apart.call("/account", client="umbrella").text != before)


def test_a_credential_that_is_refused_takes_its_answers_along(apart: Scene):
    apart.provider.answers["/held"] = whose
    apart.call("/held", client="globex")
    assert apart.way("/held", client="globex").startswith("tidegate; hit")
    apart.provider.say("/refused", "no", 401)
    assert apart.call("/refused", client="globex").status_code == 401
    assert apart.way("/held", client="globex").startswith("tidegate; fwd=uri-miss")


def test_a_hit_skips_no_decision(apart: Scene):
    apart.provider.answers["/decided"] = whose
    apart.call("/decided")
    assert apart.way("/decided").startswith("tidegate; hit")
    assert apart.call("/decided", Tidegate_Token="tdg_nobodys").status_code == 401
    assert apart.call("/decided", Tidegate_Client="globex").status_code == 404
    file = apart.passage.gateway.file
    declared = file.read_text()
    denial = (
        'deny: [{provider: there, operations: ["GET /{name}"], reason: closed, clients: [acme]}]\n'
    )
    file.write_text(declared + denial)
    try:
        wait_until(lambda: apart.call("/decided").status_code == 403)
    finally:
        file.write_text(declared)
    wait_until(lambda: apart.call("/decided").status_code == 200)


def test_the_credential_is_not_in_what_is_stored(apart: Scene):
    apart.provider.answers["/echo"] = lambda request: Reply(
        f"you sent {request.headers['authorization']}",
        headers={"Cache-Control": "max-age=600", "X-Echo": request.headers["authorization"]},
    )
    for way in ("fwd=uri-miss", "hit"):
        answer = apart.call("/echo")
        assert way in answer.headers["cache-status"]
        assert key_of("acme") not in answer.text + str(answer.headers)
