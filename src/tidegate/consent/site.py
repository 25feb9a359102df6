"""The pages' addresses: a link's question, going on from it, and the provider's answer.

Each request is held to the site's own host name, so that no other name that leads here (DNS rebinding)
is answered. Nothing in an address chooses where a browser is sent, except what the provider declares.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from typing import Final, ParamSpec
from urllib.parse import parse_qsl, urlsplit

import structlog
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tidegate.consent import html
from tidegate.credentials import ConsentRefused, Consents, CredentialRefused, Why
from tidegate.domain.secret import Secret
from tidegate.store import StoreError

FORM_BYTES_MAX: Final = 4_096
QUERY_BYTES_MAX: Final = 16_384
_BROWSER_BYTES: Final = 32
_BROWSER_CHARACTERS: Final = 43
_HEADERS: Final = (
    (b"content-security-policy", html.CONTENT_SECURITY_POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"x-robots-tag", b"noindex, nofollow"),
)
_STATUS: Final = {
    Why.LINK_UNKNOWN: 404,
    Why.LINK_USED: 410,
    Why.LINK_EXPIRED: 410,
    Why.OTHER_BROWSER: 403,
    Why.DENIED: 200,
    Why.PROVIDER_AWAY: 502,
}
# Of these nobody can say whether the account is connected: an earlier look at the page may have seen to it.
_HEADINGS: Final = {
    Why.LINK_UNKNOWN: "There is no such link",
    Why.LINK_USED: "This link was used already",
    Why.LINK_EXPIRED: "This link has expired",
    Why.STATE_UNKNOWN: "Nothing more to do here",
}
P = ParamSpec("P")
_log = structlog.stdlib.get_logger("tidegate.consent")


def site(consents: Consents, base: str) -> ASGIApp:
    """Make the site that is reached at `base`."""
    pages = _Site(consents, secure=base.startswith("https://"))
    routes = [
        Route("/connect/{link}", pages.look, methods=["GET"]),
        Route("/connect/{link}", pages.go_on, methods=["POST"]),
        Route("/callback/{provider}", pages.answer, methods=["GET"]),
    ]
    app = Starlette(routes=routes, exception_handlers={404: _nowhere, 405: _nowhere})
    # An address is exact: providers know it to the letter, and nothing is sent on to a near one.
    app.router.redirect_slashes = False
    return _Guard(app, urlsplit(base).netloc)


class _Site:
    def __init__(self, consents: Consents, *, secure: bool) -> None:
        self._consents = consents
        self._secure = secure
        # `__Host-`: no other host, and no page without TLS, can have set it (RFC 6265bis §4.1.3.2).
        self._cookie = "__Host-tidegate-consent" if secure else "tidegate-consent"

    async def look(self, request: Request) -> Response:
        link = Secret(request.path_params["link"])
        return await _told(self._look, request, link, self._browser(request))

    async def go_on(self, request: Request) -> Response:
        mark = await _form_mark(request)
        link = Secret(request.path_params["link"])
        return await _told(self._go_on, link, self._browser(request), mark)

    async def answer(self, request: Request) -> Response:
        query = str(request.url.query)
        if len(query) > QUERY_BYTES_MAX:
            return _refused(ConsentRefused(Why.ANSWER_UNREADABLE))
        pairs = parse_qsl(query, keep_blank_values=True)
        return await _told(
            self._answer, request.path_params["provider"], pairs, self._browser(request)
        )

    def _look(self, request: Request, link: Secret, known: Secret | None) -> Response:
        shown = self._consents.look(link)
        browser = known or Secret(secrets.token_urlsafe(_BROWSER_BYTES))
        response = HTMLResponse(
            html.question(
                client=shown.client,
                provider=shown.provider,
                host=shown.host,
                scopes=shown.scopes,
                again=shown.again,
                action=request.url.path,
                mark=self._consents.form_mark(link, browser),
            )
        )
        if known is None:
            # Lax: the provider's redirect brings it back, another site's form does not.
            response.set_cookie(
                self._cookie,
                browser.reveal().decode(),
                path="/",
                secure=self._secure,
                httponly=True,
                samesite="lax",
            )
        return response

    def _go_on(self, link: Secret, browser: Secret | None, mark: str) -> Response:
        if browser is None or not hmac.compare_digest(
            self._consents.form_mark(link, browser).encode(), mark.encode()
        ):
            raise ConsentRefused(Why.OTHER_BROWSER)
        shown = self._consents.look(link)
        return HTMLResponse(html.onward(shown.provider, self._consents.begin(link, browser)))

    def _answer(
        self, provider: str, pairs: list[tuple[str, str]], browser: Secret | None
    ) -> Response:
        made = self._consents.finish(provider, pairs, browser)
        return HTMLResponse(html.done(*self._consents.titles(made)))

    def _browser(self, request: Request) -> Secret | None:
        value = request.cookies.get(self._cookie, "")
        return Secret(value) if len(value) == _BROWSER_CHARACTERS and value.isascii() else None


class _Guard:
    """Refuses what is not meant for this host, and puts the headers on every answer."""

    def __init__(self, app: ASGIApp, host: str) -> None:
        self._app = app
        self._host = host.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_HEADERS]
            await send(message)

        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if hosts != [self._host]:
            wrong = PlainTextResponse("This is not the host that was asked for.\n", 421)
            await wrong(scope, receive, sending)
            return
        await self._app(scope, receive, sending)


async def _told(make: Callable[P, Response], *given: P.args, **named: P.kwargs) -> Response:
    """Do what may wait for the provider or the store on another thread, and tell how it ended."""
    try:
        return await run_in_threadpool(make, *given, **named)
    except ConsentRefused as refused:
        return _refused(refused)
    except CredentialRefused as refused:
        return HTMLResponse(html.refused(str(refused), "refused"), 400)
    except StoreError as error:
        kind = type(error).__name__
        _log.warning("consent_page_failed", kind=kind)
        return HTMLResponse(html.refused("Try again in a while.", "store_unavailable"), 503)
    except Exception as error:  # noqa: BLE001 - a person reads the answer; its message may hold more
        _log.error("consent_page_failed", kind=type(error).__name__)
        return HTMLResponse(html.refused("Something failed here.", "internal"), 500)


async def _form_mark(request: Request) -> str:
    body = b""
    try:
        async for part in request.stream():
            body += part
            if len(body) > FORM_BYTES_MAX:
                return ""
    except ClientDisconnect:
        return ""
    return dict(parse_qsl(body.decode("ascii", "replace"))).get("mark", "")


def _refused(refused: ConsentRefused) -> Response:
    status = _STATUS.get(refused.why, 400)
    reason = f"{refused.why.value} {refused.word}".strip()
    heading = _HEADINGS.get(refused.why, "Not connected")
    return HTMLResponse(html.refused(str(refused), reason, heading), status)


async def _nowhere(_request: Request, _error: Exception) -> Response:
    return HTMLResponse(
        html.refused("Look at its address.", "no_such_page", "There is no such page"), 404
    )
