"""Requests with something to protect in them, and how the gateways are told to protect it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

POLICY: Final = """
  - operations: ["items:PostPerson"]
    purpose: sales
    fields:
      - {at: body $.email, category: contact.email, do: {tokenise: aead}}
      - {at: body $.login, category: contact.email, do: {hash: meta.email}}
      - {at: body $.card, category: payment.card, do: mask}
      - {at: body $.rest, do: allow}
    bounds: {body: 10MiB}
"""
"""Three protected fields; what `peers/protecting.py` does is the same."""

_PERSON: Final = {
    "email": "jane.doe@example.com",
    "login": "j.doe@example.org",
    "card": "account of the person 8471936205118264",
}
_NOTE: Final = "An order of nothing in particular, told in a line of text."


def person(folder: Path, size: int) -> Path:
    """Write a file of JSON of exactly so many bytes: the person, and lines of an order."""
    lines: list[dict[str, Any]] = []
    while _length(lines) < size:
        number = len(lines)
        note = _NOTE * max(1, size // 400_000)
        lines.append({"line": number, "amount": 19.99, "paid": True, "note": note})
    while lines and _length(lines) + len('"fill": "", ') > size:
        lines.pop()
    missing = size - len(_text(lines, ""))
    file = folder / f"person-{size}.json"
    file.write_text(_text(lines, "a" * missing))
    return file


def _length(lines: list[dict[str, Any]]) -> int:
    return len(_text(lines, ""))


def _text(lines: list[dict[str, Any]], fill: str) -> str:
    return json.dumps({**_PERSON, "rest": {"fill": fill, "lines": lines}})
