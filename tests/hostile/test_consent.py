"""Whoever would slip in a consent, steal a code or misuse a link, gets nothing."""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest
from support.certificates import authority, leaf, server_context
from support.consenting import (
    FIELDS,
    Site,
    app_client,
    code_grant,
    declared_provider,
    free_port,
    site,
)
from support.oauth_server import OAuthServer, oauth_server
from support.person import Person
from support.serving import Seen, tls_server

from tidegate.consent import Pages
from tidegate.credentials import Consents, CredentialRefused
from tidegate.credentials.discovery import filled
from tidegate.domain.oauth import TokenGrant

ROOT = authority("root")
NASTY = "<script>alert(1)</script>\"'&"


@dataclass(frozen=True)
class Scene:
    """A gateway with two providers, each with an OAuth server of its own."""

    gateway: Site
    honest: OAuthServer
    other: OAuthServer
    port: int

    @property
    def callback(self) -> str:
        return f"{self.gateway.pages}/callback/crm"

    def untouched(self) -> bool:
        return self.gateway.connections() == {}

    def database(self) -> sqlite3.Connection:
        return sqlite3.connect(
            self.gateway.started.file.parent / "data" / "tidegate.db", timeout=10
        )


@pytest.fixture(scope="module")
def running_scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("consent")
    port = free_port()
    uris = [f"http://127.0.0.1:{port}/callback/{name}" for name in ("crm", "other")]
    with ExitStack() as stack:
        api: Seen = stack.enter_context(tls_server(server_context([leaf(ROOT, "127.0.0.1")])))
        honest, other = (
            stack.enter_context(oauth_server(folder / name, ROOT, clients=[app_client(uri)]))
            for name, uri in zip(("crm", "other"), uris, strict=True)
        )
        providers = {
            "crm": declared_provider(api, ROOT, folder, code_grant(honest)),
            "other": declared_provider(api, ROOT, folder, code_grant(other)),
        }
        client = NASTY.replace("'", "")
        gateway = stack.enter_context(site(folder, port, providers, client=client))
        yield Scene(gateway, honest, other, port)


@pytest.fixture
def scene(running_scene: Scene) -> Scene:
    state = running_scene.gateway.started.state
    for one in state.store.connections.all():
        state.vault.forget(one)
    return running_scene


@pytest.fixture
def person() -> Iterator[Person]:
    with Person(ROOT.pem) as one:
        yield one


def changed(url: str, **parameters: str | None) -> str:
    """The same address with other parameters; None leaves one out."""
    base, _, query = url.partition("?")
    values = dict(parse_qsl(query)) | parameters
    kept = {name: value for name, value in values.items() if value is not None}
    return f"{base}?{urlencode(kept)}"


@pytest.mark.parametrize(
    "issuer", [None, "", "https://thief.test", "https://127.0.0.1", "HTTPS://127.0.0.1:1/"]
)
def test_an_answer_of_no_or_another_issuer_gets_no_code_sent(
    scene: Scene, person: Person, issuer: str | None
):
    asked = scene.honest.seen()["asked"]
    answer = changed(person.answer(scene.gateway.link()), iss=issuer)
    page = person.open(answer)
    assert (page.status_code, "issuer_wrong" in page.text) == (400, True)
    assert scene.honest.seen()["asked"] == asked
    assert scene.untouched()
    # The code is not tried again either: the question is over.
    assert "state_unknown" in person.open(changed(answer, iss=scene.honest.url)).text


def test_a_mix_up_sends_no_code_to_the_other_server(scene: Scene, person: Person):
    """The person began at `other`, which sends them on to the honest server with its own state."""
    state = dict(parse_qsl(urlsplit(person.go_on(scene.gateway.link("other"))).query))["state"]
    code = dict(parse_qsl(urlsplit(person.answer(scene.gateway.link())).query))["code"]
    asked = (scene.honest.seen()["asked"], scene.other.seen()["asked"])
    said = {"code": code, "state": state}
    for provider, issuer in (
        ("crm", scene.honest.url),
        ("crm", scene.other.url),
        ("other", scene.honest.url),
    ):
        url = f"{scene.gateway.pages}/callback/{provider}?{urlencode(said | {'iss': issuer})}"
        assert person.open(url).status_code == 400
    assert (scene.honest.seen()["asked"], scene.other.seen()["asked"]) == asked
    assert scene.untouched()


@pytest.mark.parametrize("state", [None, "", "guessed", "a" * 43])
def test_a_state_that_is_not_ours_is_refused(scene: Scene, person: Person, state: str | None):
    answer = person.answer(scene.gateway.link())
    page = person.open(changed(answer, state=state))
    assert (page.status_code, "state_unknown" in page.text) == (400, True)
    assert scene.untouched()
    # Whoever guesses spoils nothing.
    assert person.open(answer).status_code == 200


def test_a_parameter_that_stands_twice_is_refused(scene: Scene, person: Person):
    answer = person.answer(scene.gateway.link())
    for name in ("code", "state", "iss"):
        assert person.open(f"{answer}&{name}=x").status_code == 400
    assert scene.untouched()


def test_an_answer_counts_once(scene: Scene, person: Person):
    answer = person.answer(scene.gateway.link())
    assert person.open(answer).status_code == 200
    (first,) = scene.gateway.connections().values()
    assert "state_unknown" in person.open(answer).text
    assert scene.gateway.connections() == {"default": first}


def test_an_answer_after_its_time_is_refused(scene: Scene, person: Person):
    answer = person.answer(scene.gateway.link())
    with scene.database() as database:
        database.execute("UPDATE consents SET expires_at = 1 WHERE begun_at IS NOT NULL")
    assert "state_unknown" in person.open(answer).text
    assert scene.untouched()


def test_another_browser_cannot_bring_the_answer(scene: Scene, person: Person):
    """The attacker consents with an account of theirs, and has somebody else's browser finish."""
    answer = person.answer(scene.gateway.link())
    with Person(ROOT.pem) as victim:
        assert victim.open(answer).status_code == 403
        victim.submit(victim.open(scene.gateway.link()))
        assert victim.open(answer).status_code == 403
        victim.cookies.clear()
        victim.cookies.set("tidegate-consent", "a" * 43, domain="127.0.0.1")
        assert victim.open(answer).status_code == 403
    assert scene.untouched()
    # The one who began is not hindered by it.
    assert person.open(answer).status_code == 200


def test_a_link_is_not_gone_on_from_by_another_page(scene: Scene, person: Person):
    link = scene.gateway.link()
    # Without the page's mark: another site's form, with or without the browser's cookie.
    person.open(link)
    for sent in ({}, {"mark": ""}, {"mark": "0" * 64}):
        assert person.browser.post(link, data=sent).status_code == 403
    with Person(ROOT.pem) as stranger:
        page = person.open(link)
        assert stranger.submit(page).status_code == 403
    assert person.browser.post(link, content=b"mark=" + b"a" * 1_000_000).status_code == 403
    assert person.consent(link).status_code == 200


def test_the_challenge_is_always_s256(scene: Scene, person: Person):
    asked = dict(parse_qsl(urlsplit(person.go_on(scene.gateway.link())).query))
    assert (asked["code_challenge_method"], len(asked["code_challenge"])) == ("S256", 43)
    assert "code_verifier" not in asked


def test_metadata_without_s256_gets_no_question():
    grant = TokenGrant("authorization_code", issuer="https://id.test")
    said = {
        "issuer": "https://id.test",
        "token_endpoint": "https://id.test/token",
        "authorization_endpoint": "https://id.test/auth",
    }
    assert filled(grant, said).authorize_url == "https://id.test/auth"
    for methods in (["plain"], [], "S256", None, {}):
        with (
            pytest.raises(CredentialRefused, match=r"S256|lacks")
            if methods is not None
            else (ExitStack())
        ):
            filled(grant, said | {"code_challenge_methods_supported": methods})
    for issuer in ("https://id.test/", "https://ID.test", "https://thief.test", None):
        with pytest.raises(CredentialRefused, match="another issuer"):
            filled(grant, said | {"issuer": issuer})
    with pytest.raises(CredentialRefused, match="https://host/path"):
        filled(grant, said | {"token_endpoint": "http://id.test/token"})


@pytest.mark.parametrize("challenge", [None, "plain"])
def test_a_code_had_with_a_weaker_challenge_is_worth_nothing(
    scene: Scene, person: Person, challenge: str | None
):
    """Somebody on the way strips the challenge, so that a stolen code would do."""
    there = person.go_on(scene.gateway.link())
    stripped = changed(
        there, code_challenge_method=challenge, **({} if challenge else {"code_challenge": None})
    )
    person.browser.follow_redirects = True
    page = person.allow(person.open(stripped))
    assert page.status_code >= 400 or "Not connected" in page.text
    assert scene.untouched()


@pytest.mark.parametrize(
    "deviation",
    [
        lambda uri: uri + "/",
        lambda uri: uri + "?next=https://thief.test",
        lambda uri: uri.replace("/callback/crm", "/callback/other"),
        lambda uri: uri.replace("/callback/crm", "/callback/crm/../other"),
        lambda uri: uri.replace("127.0.0.1", "localhost"),
        lambda uri: "https://thief.test/callback/crm",
    ],
)
def test_the_redirect_address_is_exact(
    scene: Scene, person: Person, deviation: Callable[[str], str]
):
    there = person.go_on(scene.gateway.link())
    asked = dict(parse_qsl(urlsplit(there).query))
    assert asked["redirect_uri"] == scene.callback
    person.browser.follow_redirects = False
    refused = person.open(changed(there, redirect_uri=deviation(scene.callback)))
    assert refused.status_code == 400
    answer = person.answer(scene.gateway.link())
    for path in ("/callback/other", "/callback/crm/", "/callback/", "/callback/CRM", "/callback"):
        elsewhere = person.open(answer.replace("/callback/crm", path))
        assert elsewhere.status_code in {400, 404}, path
        assert "is connected" not in elsewhere.text
    assert scene.untouched()


def test_a_link_works_once(scene: Scene, person: Person):
    link = scene.gateway.link()
    for _ in range(3):
        assert person.open(link).status_code == 200
    page = person.open(link)
    assert person.submit(page).status_code == 200
    assert person.submit(page).status_code == 410
    assert person.open(link).status_code == 410
    with Person(ROOT.pem) as other:
        assert other.open(link).status_code == 410


def test_a_link_expires(scene: Scene, person: Person):
    link = scene.gateway.link(expires=timedelta(seconds=-1))
    assert person.open(link).status_code == 410
    link = scene.gateway.link()
    page = person.open(link)
    with scene.database() as database:
        database.execute("UPDATE consents SET expires_at = 1 WHERE begun_at IS NULL")
    assert person.submit(page).status_code == 410


def test_a_link_is_not_guessed_and_is_not_in_the_store(scene: Scene, person: Person):
    link = scene.gateway.link()
    token = link.rpartition("/")[2]
    assert len(token) >= 43
    for wrong in (token[:-1], token + "A", token.swapcase(), "x", "%00", "..%2f"):
        assert person.open(f"{scene.gateway.pages}/connect/{wrong}").status_code in {404, 410}
    there = person.go_on(link)
    state = dict(parse_qsl(urlsplit(there).query))["state"]
    with scene.database() as database:
        stored = str(database.execute("SELECT * FROM consents").fetchall())
    browser = person.cookies["tidegate-consent"]
    for secret in (token, state, browser, FIELDS["client_secret"]):
        assert secret not in stored


def test_an_altered_question_opens_nothing(scene: Scene, person: Person):
    for change in (
        "scheme = 'oauth2 https://thief.test/token'",
        "origins = '[\"https://thief.test\"]'",
        "client = 'globex'",
        "provider = 'other'",
    ):
        link = scene.gateway.link()
        page = person.open(link)
        with scene.database() as database:
            database.execute(f"UPDATE consents SET {change} WHERE begun_at IS NULL")
        assert person.submit(page).status_code in {400, 404, 410, 500}, change
        with scene.database() as database:
            database.execute("DELETE FROM consents WHERE begun_at IS NULL")
    assert scene.untouched()


@pytest.mark.parametrize(
    "path",
    [
        "/connect/{token}?next=https://thief.test",
        "/callback/crm?redirect_uri=https://thief.test&url=https://thief.test",
        "//thief.test/",
        "/connect//thief.test",
        "/callback/crm?state={token}&iss=https://thief.test",
    ],
)
def test_no_address_chooses_where_a_browser_is_sent(scene: Scene, person: Person, path: str):
    token = scene.gateway.link().rpartition("/")[2]
    person.browser.follow_redirects = False
    page = person.open(scene.gateway.pages + path.format(token=token))
    assert "thief" not in page.headers.get("location", "")
    assert "thief" not in page.text


def test_what_a_stranger_says_is_not_html(scene: Scene, person: Person):
    link = scene.gateway.link()
    page = person.open(link)
    assert "<script" not in page.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&quot;&amp;" in page.text
    state = dict(parse_qsl(urlsplit(person.go_on(link)).query))["state"]
    said = {"state": state, "iss": scene.honest.url, "error": NASTY}
    said |= {"error_description": NASTY, "error_uri": "javascript:alert(1)"}
    refused = person.open(f"{scene.callback}?{urlencode(said)}")
    assert refused.status_code == 400
    for part in ("script", "alert", "javascript"):
        assert part not in refused.text
    for answer in (page, refused):
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        for rule in ("form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"):
            assert rule in policy
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
    cookie = page.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie


@pytest.mark.parametrize(
    "host",
    [
        b"Host: thief.test\r\n",
        b"Host: thief.test:%d\r\n",
        b"Host: localhost:%d\r\n",
        b"Host: 127.0.0.1\r\n",
        b"Host: 127.0.0.1:%d.thief.test\r\n",
        b"Host: 127.0.0.1:%d\r\nHost: thief.test\r\n",
        b"Host: thief.test\r\nX-Forwarded-Host: 127.0.0.1:%d\r\n",
    ],
)
def test_a_name_that_leads_here_by_rebinding_is_not_answered(scene: Scene, host: bytes):
    """The same listener serves `tidegate connect` on loopback, which any page's script can reach."""
    link = urlsplit(scene.gateway.link()).path.encode()
    line = host.replace(b"%d", str(scene.port).encode())
    with socket.create_connection(("127.0.0.1", scene.port), timeout=10) as connection:
        connection.sendall(b"GET %b HTTP/1.1\r\n%bConnection: close\r\n\r\n" % (link, line))
        answer = b""
        while data := connection.recv(65_536):
            answer += data
    assert answer.split(b" ")[1] in {b"421", b"400"}
    assert b"Connect" not in answer.partition(b"\r\n\r\n")[2]


def test_the_pages_of_tls_bind_the_browser_to_the_host(scene: Scene, tmp_path: Path):
    state = scene.gateway.started.state
    certificate = leaf(ROOT, "127.0.0.1")
    listener = socket.create_server(("127.0.0.1", 0))
    base = f"https://127.0.0.1:{listener.getsockname()[1]}"
    declaration = state.store.revisions.current()
    assert declaration is not None
    with state.calling_out() as engine:
        consents = Consents(state.store, state.vault, engine, lambda: declaration.declaration, base)
        pages = Pages(listener, consents, base, server_context([certificate]))
        pages.start()
        try:
            token = scene.gateway.link().rpartition("/")[2]
            with Person(ROOT.pem) as person:
                page = person.open(f"{base}/connect/{token}")
            cookie = page.headers["set-cookie"]
            assert cookie.startswith("__Host-tidegate-consent=")
            assert "Secure" in cookie
            assert "Path=/" in cookie
            assert "Domain" not in cookie
        finally:
            pages.stop()


def test_other_methods_and_pages_are_not_there(scene: Scene):
    with httpx.Client(base_url=scene.gateway.pages, trust_env=False) as client:
        for method in ("PUT", "DELETE", "OPTIONS", "TRACE", "POST"):
            assert client.request(method, "/callback/crm").status_code == 404
        for path in ("/", "/connect/", "/docs", "/openapi.json", "/static/x"):
            answer = client.get(path)
            assert answer.status_code == 404
            assert "content-security-policy" in answer.headers
