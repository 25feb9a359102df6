"""The consent pages in a real browser: what a person sees, and what the browser holds to."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect
from support.browser import chromium
from support.certificates import authority, leaf, server_context
from support.consenting import Site, app_client, code_grant, declared_provider, free_port, site
from support.oauth_server import oauth_server
from support.running import wait_until
from support.serving import Seen, tls_server

ROOT = authority("root")
ASKED = "Connect Acme GmbH to CRM & Co"
CONNECTED = "Acme GmbH is connected to CRM & Co"
PHONE = {"width": 320, "height": 568}
"""The narrowest that is still about: what fits there fits everywhere (WCAG 2.2 §1.4.10)."""


@dataclass(frozen=True)
class Scene:
    """A gateway with its pages, an OAuth server behind them, and the browser."""

    gateway: Site
    browser: Browser

    def person(self, **options: object) -> BrowserContext:
        # The provider's certificate is of the tests' own authority, which no browser knows.
        context = self.browser.new_context(ignore_https_errors=True, **options)
        context.set_default_timeout(15_000)
        return context


@pytest.fixture(scope="module")
def running_scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder, port = tmp_path_factory.mktemp("pages"), free_port()
    app = app_client(f"http://127.0.0.1:{port}/callback/crm")
    with ExitStack() as stack:
        api: Seen = stack.enter_context(tls_server(server_context([leaf(ROOT, "127.0.0.1")])))
        server = stack.enter_context(oauth_server(folder / "server", ROOT, clients=[app]))
        providers = {"crm": declared_provider(api, ROOT, folder, code_grant(server))}
        gateway = stack.enter_context(site(folder, port, providers))
        yield Scene(gateway, stack.enter_context(chromium()))


@pytest.fixture
def scene(running_scene: Scene) -> Scene:
    state = running_scene.gateway.started.state
    for one in state.store.connections.all():
        state.vault.forget(one)
    return running_scene


@pytest.fixture
def person(scene: Scene) -> Iterator[BrowserContext]:
    with closing(scene.person()) as context:
        yield context


@pytest.fixture
def page(person: BrowserContext) -> Page:
    return person.new_page()


def go_on(page: Page) -> None:
    page.get_by_role("button", name="Go on to CRM & Co").click()
    page.wait_for_url("https://127.0.0.1:*/interaction/*")


def allow(page: Page) -> None:
    """Sign in at the provider, and allow what is asked."""
    page.locator("input[name=login]").fill("a-person")
    page.locator("input[name=password]").fill("x")
    page.get_by_role("button", name="Sign-in").click()
    page.get_by_role("button", name="Continue").click()


def test_a_person_sees_what_is_asked_and_connects(scene: Scene, page: Page):
    page.goto(scene.gateway.link())
    expect(page).to_have_title(ASKED)
    expect(page.get_by_role("heading", level=1)).to_have_text(ASKED)
    expect(page.get_by_role("listitem")).to_have_text(["openid", "offline_access", "api"])
    host = page.get_by_text("You sign in at").inner_text().removesuffix(".").split()[-1]
    go_on(page)
    assert urlsplit(page.url).netloc == host
    allow(page)
    expect(page.get_by_role("heading", level=1)).to_have_text(CONNECTED)
    expect(page).to_have_title(CONNECTED)
    assert "/callback/crm" in page.url
    # Loaded once more, it does not say that nothing is connected.
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("Nothing more to do here")
    wait_until(lambda: scene.gateway.code() == "ok")


def test_a_person_who_says_no_is_told_that_nothing_is_connected(scene: Scene, page: Page):
    page.goto(scene.gateway.link())
    go_on(page)
    page.get_by_role("link", name="[ Cancel ]").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Not connected")
    expect(page.get_by_text("Consent was not given at the provider.")).to_be_visible()
    assert scene.gateway.connections() == {}


def test_a_link_that_was_used_says_so(scene: Scene, page: Page):
    link = scene.gateway.link()
    page.goto(link)
    go_on(page)
    answer = page.goto(link)
    assert answer is not None
    assert answer.status == 410
    expect(page.get_by_role("heading", level=1)).to_have_text("This link was used already")
    expect(page.get_by_text("it works once")).to_be_visible()
    expect(page.get_by_role("button")).to_have_count(0)


def test_a_link_that_expires_while_it_is_looked_at_says_so(scene: Scene, page: Page):
    page.goto(scene.gateway.link())
    database = scene.gateway.started.file.parent / "data" / "tidegate.db"
    with sqlite3.connect(database, timeout=10) as store:
        store.execute("UPDATE consents SET expires_at = 1 WHERE begun_at IS NULL")
    page.get_by_role("button").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("This link has expired")
    expect(page.get_by_text("ask for a new one")).to_be_visible()


def test_another_browser_cannot_finish_what_one_began(scene: Scene, page: Page):
    answers: list[str] = []

    def keep(route: Route) -> None:
        """Follow the provider's redirects one by one, and stop before the one that leads back."""
        answer = route.fetch(max_redirects=0)
        there = answer.headers.get("location", "")
        if "/callback/" in there:
            answers.append(there)
            route.fulfill(body="kept")
        elif there:
            onward = f'<meta http-equiv="refresh" content="0; url={there}">'
            route.fulfill(content_type="text/html", body=onward)
        else:
            route.fulfill(response=answer)

    page.goto(scene.gateway.link())
    go_on(page)
    page.route("https://127.0.0.1:*/**", keep)
    allow(page)
    expect(page.get_by_text("kept")).to_be_visible()
    (answer,) = answers
    with closing(scene.person()) as stranger:
        elsewhere = stranger.new_page()
        elsewhere.goto(answer)
        expect(elsewhere.get_by_text("another browser")).to_be_visible()
    assert scene.gateway.connections() == {}
    # The cookie is `SameSite=Lax`, and comes along all the same where the provider sends back.
    page.unroute_all()
    page.goto(answer)
    expect(page.get_by_role("heading", level=1)).to_have_text(CONNECTED)


def test_nothing_is_loaded_and_no_script_is_needed(scene: Scene):
    with closing(scene.person(java_script_enabled=False)) as context:
        page, asked = context.new_page(), list[str]()
        context.on("request", lambda request: asked.append(request.url))
        link = scene.gateway.link()
        page.goto(link)
        assert asked == [link]
        go_on(page)
        allow(page)
        expect(page.get_by_role("heading", level=1)).to_have_text(CONNECTED)
        ours = [url for url in asked if url.startswith(scene.gateway.pages)]
        # The question, what the button sends, and the provider's answer: nothing else.
        assert [re.sub(r"[?].*", "", url) for url in ours] == [
            *(link, link),
            f"{scene.gateway.pages}/callback/crm",
        ]


@pytest.mark.parametrize("policy", ["as it is served", None])
def test_what_is_slipped_into_a_page_does_not_run(scene: Scene, page: Page, policy: str | None):
    """As if a value had reached the page unescaped: its policy is the second wall."""
    origin, heard = "http://thief.test", list[str]()

    def hear(route: Route) -> None:
        heard.append(route.request.url)
        route.fulfill(status=404)

    slipped = (
        "<script>document.title = 'ran'</script>"
        f"<img src='{origin}/x' onerror=\"document.title += ' loaded'\">"
        f"<link rel=stylesheet href='{origin}/x'><style>h1{{color:red}}</style>"
        f"<iframe src='{origin}/x'></iframe><base href='{origin}/'>"
    )

    def slip_in(route: Route) -> None:
        answer = route.fetch()
        headers = dict(answer.headers)
        if not policy:
            del headers["content-security-policy"]
        text = answer.text().replace("</main>", f"</main>{slipped}")
        route.fulfill(status=answer.status, headers=headers, body=text)

    page.route("**/connect/*", slip_in)
    page.route(f"{origin}/**", hear)
    page.goto(scene.gateway.link())
    page.wait_for_load_state("networkidle")
    heading = page.get_by_role("heading", level=1)
    if policy:
        assert page.title() == ASKED
        expect(heading).not_to_have_css("color", "rgb(255, 0, 0)")
        assert page.evaluate("document.baseURI").startswith(scene.gateway.pages)
    else:
        assert page.title().startswith("ran")
        expect(heading).to_have_css("color", "rgb(255, 0, 0)")
    assert (heard == []) is bool(policy)


def test_the_keyboard_suffices_and_shows_where_it_is(scene: Scene, page: Page):
    page.goto(scene.gateway.link())
    page.keyboard.press("Tab")
    button = page.get_by_role("button", name="Go on to CRM & Co")
    expect(button).to_be_focused()
    expect(button).not_to_have_css("outline-style", "none")
    page.keyboard.press("Enter")
    page.wait_for_url("https://127.0.0.1:*/interaction/*")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_a_phone_and_can_be_read(scene: Scene, scheme: str):
    with closing(scene.person(viewport=PHONE, color_scheme=scheme)) as context:
        page, link = context.new_page(), scene.gateway.link()
        page.goto(link)
        is_readable(page)
        button = page.get_by_role("button").bounding_box()
        assert button is not None
        # A finger's width (WCAG 2.2 §2.5.5), and in view without scrolling.
        assert button["height"] >= 44
        assert button["y"] + button["height"] <= PHONE["height"]
        go_on(page)
        page.goto(link)
        is_readable(page)


def is_readable(page: Page) -> None:
    """Language, one main part, nothing cut off at the side, and contrast of 4.5 : 1 or more."""
    expect(page.get_by_role("main")).to_have_count(1)
    assert page.locator("html").get_attribute("lang") == "en"
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= PHONE["width"]
    assert page.evaluate(CONTRASTS) == []


# The relative luminance and contrast of WCAG 2.2 §1.4.3.
CONTRASTS = """() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = (colour) => {
    const [r, g, b] = parts(colour).slice(0, 3).map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (parts(colour)[3] !== 0) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  const low = [];
  for (const element of document.querySelectorAll('h1, p, li, code, button, a')) {
    const [one, other] = [luminance(getComputedStyle(element).color), luminance(behind(element))];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (ratio < 4.5) low.push(`${element.tagName}: ${ratio.toFixed(2)}`);
  }
  return low;
}"""
