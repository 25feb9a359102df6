"""How `connect` has a person consent: in a browser on this machine, by a link, or by a code."""

from __future__ import annotations

import re
import socket
import time
import webbrowser
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from tidegate.cli.outcome import Refusal
from tidegate.cli.reading import DECLARATION, declaration_file
from tidegate.cli.terminal import NAME, QUIET, has_terminal, moment, notice

if TYPE_CHECKING:
    from tidegate.app import Services
    from tidegate.credentials import Consents
    from tidegate.credentials.asking import Ask
    from tidegate.domain.connection import Connection
    from tidegate.domain.declaration import Declaration
    from tidegate.domain.secret import Secret

_LOOK_EVERY_S: Final = 0.1
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be connected."""

    provider: str
    client: str
    name: str
    fields: Mapping[str, Secret]
    variables: Mapping[str, str]


def by_link(
    state: Services, declaration: Declaration, engine: Ask, wanted: Wanted, expires: str
) -> None:
    """Make a link to the gateway's consent pages, and print it alone on standard output."""
    from tidegate.catalog import load_settings

    lasts = _duration(expires)
    pages = load_settings(declaration_file(DECLARATION)).consent
    if pages is None:
        raise Refusal(
            "this gateway has no consent pages to link to",
            "declare `gateway: {consent: {public_url: …, bind: …}}` in `tidegate.yaml`",
        )
    consents = _consents(state, engine, declaration, pages.public_url)
    asked = consents.ask(
        wanted.provider,
        wanted.client,
        wanted.name,
        wanted.fields,
        wanted.variables,
        expires=lasts,
    )
    redirect_uri = consents.redirect_uri(wanted.provider)
    notice((f"register at the provider as redirect URI: {redirect_uri}", QUIET))
    notice(
        (f"works once, until {moment(asked.consent.expires_at)}, while `tidegate up` runs", QUIET)
    )
    print(f"{pages.public_url}/connect/{asked.link.reveal().decode()}", flush=True)


def in_browser(
    state: Services,
    declaration: Declaration,
    engine: Ask,
    wanted: Wanted,
    port: int,
    *,
    browser: bool,
) -> Connection:
    """Serve the consent pages on loopback (RFC 8252 §7.3) until somebody has answered."""
    from tidegate.consent import Pages
    from tidegate.credentials.consent import ANSWER

    try:
        listener = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise Refusal(f"cannot listen on 127.0.0.1:{port}: {error.strerror}") from None
    base = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with listener:
        consents = _consents(state, engine, declaration, base)
        asked = consents.ask(
            wanted.provider,
            wanted.client,
            wanted.name,
            wanted.fields,
            wanted.variables,
            expires=ANSWER,
        )
        pages = Pages(listener, consents, base)
        pages.start()
        try:
            link = f"{base}/connect/{asked.link.reveal().decode()}"
            notice(
                (f"redirect URI: {consents.redirect_uri(wanted.provider)}", QUIET),
            )
            notice("open in a browser on this machine: ", (link, NAME))
            if browser and has_terminal():
                webbrowser.open(link)
            outcome = _wait(lambda: _outcome(consents, asked.consent.id), ANSWER * 2)
        finally:
            pages.stop()
    if outcome != "given":
        raise Refusal(f"not connected: {outcome}", "begin again, or see the page in the browser")
    made = state.store.connections.find(wanted.client, wanted.provider, wanted.name)
    if made is None:
        raise Refusal("the connection was removed while it was made")
    return made


def by_code(state: Services, declaration: Declaration, engine: Ask, wanted: Wanted) -> Connection:
    """Show a code to type on any other device, and wait until it was (RFC 8628)."""
    consents = _consents(state, engine, declaration, "")
    asked = consents.ask(
        wanted.provider, wanted.client, wanted.name, wanted.fields, wanted.variables
    )
    code = consents.ask_device(asked)
    notice("open ", (code.whole_uri or code.verification_uri, NAME))
    notice("and give the code ", (code.user_code, NAME))
    return consents.wait_for_device(asked, code)


def _consents(state: Services, engine: Ask, declaration: Declaration, base: str) -> Consents:
    from tidegate.credentials import Consents

    return Consents(state.store, state.vault, engine, lambda: declaration, base)


def _outcome(consents: Consents, question: str) -> str | None:
    known = consents.outcome(question)
    return None if known is None else known.outcome


def _wait(look: Callable[[], str | None], at_most: timedelta) -> str:
    ends = time.monotonic() + at_most.total_seconds()
    while (found := look()) is None:
        if time.monotonic() > ends:
            raise Refusal("nobody answered in time", "begin again")
        time.sleep(_LOOK_EVERY_S)
    # The page that tells of it is on its way to the browser.
    time.sleep(_LOOK_EVERY_S)
    return found


def _duration(word: str) -> timedelta:
    from tidegate.credentials.consent import LINK_MAX

    found = re.fullmatch(r"([1-9][0-9]{0,4})([mhd])", word)
    lasts = timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else None
    if lasts is None or lasts > LINK_MAX:
        raise Refusal(f"`--expires` is at most {LINK_MAX.days}d", "for example `--expires 24h`")
    return lasts
