"""Read a provider's XML answer as the same kind of document that JSON gives.

An answer comes from outside, and XML can ask its reader for files, addresses and memory. So it is
read by expat, without a document type: who declares one, an entity or a notation is refused, which
leaves nothing that could be expanded or fetched. Depth and number of elements are bounded.

Attributes and namespaces are passed over. An element with elements in it is a mapping by their local
names; one whose elements are all `member` is a list (AWS's query protocol); any other is its text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NoReturn
from xml.parsers import expat

DEPTH_MAX: Final = 32
ELEMENTS_MAX: Final = 20_000
_MEMBER: Final = "member"


class XmlRefusedError(Exception):
    """It is no XML that is read here. The message holds no part of it."""


def read_xml(body: bytes) -> Mapping[str, Any]:
    """Return the document as one mapping from the root's name.

    Raises:
        XmlRefusedError: it is not well-formed, not UTF-8, declares a document type, or is too much.
    """
    reader = _Reader()
    # Bytes mean one thing only, whatever encoding a mark or the declaration claims.
    try:
        body.decode()
    except UnicodeDecodeError:
        raise XmlRefusedError("it is not in UTF-8") from None
    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    parser.ExternalEntityRefHandler = _refuse
    parser.SkippedEntityHandler = _refuse
    try:
        parser.Parse(body, True)
    except expat.ExpatError:
        raise XmlRefusedError("it is not well-formed") from None
    return reader.whole


class _Reader:
    def __init__(self) -> None:
        self.whole: dict[str, Any] = {}
        self._open: list[tuple[str, list[tuple[str, Any]], list[str]]] = []
        self._elements = 0

    def start(self, name: str, _attributes: Mapping[str, str]) -> None:
        self._elements += 1
        if len(self._open) >= DEPTH_MAX or self._elements > ELEMENTS_MAX:
            raise XmlRefusedError("it is deeper or longer than any answer")
        self._open.append((name.rpartition(":")[2], [], []))

    def text(self, text: str) -> None:
        if self._open:
            self._open[-1][2].append(text)

    def end(self, _name: str) -> None:
        name, children, text = self._open.pop()
        value = _value(children, "".join(text))
        if self._open:
            self._open[-1][1].append((name, value))
        else:
            self.whole = {name: value}


def _value(children: list[tuple[str, Any]], text: str) -> Any:
    if not children:
        return text.strip()
    if text.strip():
        raise XmlRefusedError("it mixes text and elements")
    names = [name for name, _ in children]
    if set(names) == {_MEMBER}:
        return [value for _, value in children]
    if len(set(names)) < len(names):
        # Which of two is meant could be read in two ways.
        raise XmlRefusedError("an element stands twice")
    return dict(children)


def _refuse(*_: object) -> NoReturn:
    raise XmlRefusedError("it declares a document type or an entity")
