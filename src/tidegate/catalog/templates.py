"""Read the texts that signatures are made of: `{timestamp}.{body}`, with `{{` for a brace."""

from __future__ import annotations

import re
from typing import Final

from tidegate.catalog.errors import did_you_mean, listed, shown
from tidegate.domain.sign import Part

_PLAIN: Final = (
    "method",
    "host",
    "path",
    "query",
    "target",
    "timestamp",
    "nonce",
    "body",
    "body_sha256",
    "body_sha256_base64",
)
_WITH_NAME: Final = {"field": "field", "header": "header", "basic": "basic_signature"}
_PIECE: Final = re.compile(r"\{\{|\}\}|\{(?P<name>[^{}]*)\}|[{}]|[^{}]+")
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_HEADER: Final = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]{1,64}")


class WrongTemplateError(ValueError):
    """A text that cannot be put together; `hint` says what would do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def read_template(text: str, *, signed: bool) -> tuple[Part, ...]:
    """Take a text apart. Only where it is `signed` by then may it hold the signature.

    Raises:
        WrongTemplateError: a brace stands alone, or a placeholder is not known.
    """
    parts: list[Part] = []
    for piece in _PIECE.finditer(text):
        written = piece[0]
        if written in {"{", "}"}:
            raise WrongTemplateError("a brace stands alone", "write `{{` or `}}` for a brace")
        if piece["name"] is None:
            parts.append(("literal", written[0] if written in {"{{", "}}"} else written))
        else:
            parts.append(_placeholder(piece["name"], signed=signed))
    return tuple(parts)


def _placeholder(name: str, *, signed: bool) -> Part:
    kind, colon, of = name.partition(":")
    if colon and kind in _WITH_NAME:
        form = _HEADER if kind == "header" else _NAME
        if not form.fullmatch(of):
            what = "a header's name in small letters" if kind == "header" else "a field's name"
            raise WrongTemplateError(f"{shown(name)} names nothing", f"after `:` comes {what}")
        if kind == "basic" and not signed:
            raise WrongTemplateError("`message` cannot hold its own signature", "leave it out")
        return (_WITH_NAME[kind], of)
    if name == "signature":
        if not signed:
            raise WrongTemplateError("`message` cannot hold its own signature", "leave it out")
        return name
    if name in _PLAIN:
        return name
    known = [*_PLAIN, "signature", *(f"{kind}:…" for kind in _WITH_NAME)]
    raise WrongTemplateError(
        f"there is no placeholder {shown(name)}",
        did_you_mean(name, known, otherwise=f"there is {listed(known)}"),
    )
