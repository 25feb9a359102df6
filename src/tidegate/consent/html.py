"""The pages as text. Every value is escaped here, and nowhere else; there is no script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from html import escape
from typing import Final

_STYLE: Final = """
:root{color-scheme:light dark}
body{font:17px/1.5 system-ui,sans-serif;color:#1b2430;background:#eef2f5;margin:0}
main{max-width:34rem;margin:12vh auto;padding:2rem;background:#fff;border-radius:10px;
overflow-wrap:anywhere}
main>:last-child{margin-bottom:0}
h1{font-size:1.35rem;line-height:1.3;margin:0 0 1rem}
ul{padding-left:1.2rem}
code{font-size:.9em}
button,a.on{font:inherit;display:inline-block;border:0;border-radius:6px;padding:.6rem 1.1rem;
background:#0b5c6b;color:#fff;text-decoration:none;cursor:pointer}
button:focus-visible,a:focus-visible{outline:3px solid #e5a93b;outline-offset:2px}
.quiet{color:#55636f;font-size:.9rem}
@media(max-width:38rem){body{background:#fff}main{margin:0;padding:1.5rem}}
@media(prefers-color-scheme:dark){body{color:#e4e9ee;background:#11171d}main{background:#1b232b}
.quiet{color:#a3b0bb}}
@media(prefers-color-scheme:dark) and (max-width:38rem){body{background:#1b232b}}
"""
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

CONTENT_SECURITY_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)


def question(
    *,
    client: str,
    provider: str,
    host: str,
    scopes: Iterable[str],
    again: bool,
    action: str,
    mark: str,
) -> str:
    """Ask whether to go on to the provider; `host` is where it signs people in."""
    asked = "".join(f"<li><code>{escape(scope)}</code></li>" for scope in scopes)
    access = (
        f"<p>{escape(provider)} will ask you to allow:</p><ul>{asked}</ul>"
        if asked
        else f"<p>{escape(provider)} will tell you what you are asked to allow.</p>"
    )
    where = f"<p>You sign in at <code>{escape(host)}</code>.</p>" if host else ""
    renewed = (
        '<p class="quiet">This renews a connection that is there already: sign in with the same '
        "account as before.</p>"
        if again
        else ""
    )
    return _page(
        f"Connect {escape(client)} to {escape(provider)}",
        f"{access}{where}{renewed}"
        f'<form method="post" action="{escape(action)}">'
        f'<input type="hidden" name="mark" value="{escape(mark)}">'
        f"<button>Go on to {escape(provider)}</button></form>"
        '<p class="quiet">If you did not expect this question, close the page: nothing has '
        "happened.</p>",
    )


def onward(provider: str, address: str) -> str:
    """Send the browser on.

    By the page, not by a redirect: a browser holds a form's redirects to `form-action`, and where the
    provider signs people in is the provider's to say.
    """
    to = escape(address)
    return _page(
        f"On to {escape(provider)}",
        f'<p><a class="on" href="{to}" rel="noreferrer">Go on to {escape(provider)}</a></p>',
        head=f'<meta http-equiv="refresh" content="0; url={to}">',
    )


def done(client: str, provider: str) -> str:
    """Say that it worked."""
    return _page(
        f"{escape(client)} is connected to {escape(provider)}",
        "<p>You can close this page.</p>",
    )


def refused(sentence: str, reason: str, heading: str = "Not connected") -> str:
    """Say that it did not, and what can be done."""
    return _page(
        escape(heading),
        f'<p>{escape(sentence)}</p><p class="quiet">Reason: <code>{escape(reason)}</code></p>',
    )


def _page(heading: str, body: str, head: str = "") -> str:
    """Put a page together; heading and body are HTML already."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"{head}<title>{heading}</title><style>{_STYLE}</style></head>"
        f"<body><main><h1>{heading}</h1>{body}</main></body></html>"
    )
