"""Read the selectors of `protection`: where in a request a field is.

The engine reads them again and decides by its own reading (`native/wire/src/protect/selector.rs`);
here a mistake is found while the file is at hand, and so are two rules that no field could tell apart.
A body's JSONPath (RFC 9535) of names, indexes and wildcards alone is taken to pieces; of any other one
it is known only where the engine has run it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from tidegate.catalog.errors import did_you_mean, shown
from tidegate.catalog.xml_names import is_xml_name

SelectorKind = Literal[
    "body", "form", "part", "file", "graphql", "csv", "xml", "query", "header", "path", "property"
]
KINDS: Final = (
    "body", "form", "part", "file", "graphql", "csv", "xml", "query", "header", "path", "property"
)  # fmt: skip
SEGMENTS_MAX: Final = 64
_LENGTH_MAX: Final = 1_000
_SHORTHAND = r"[A-Za-z_\u0080-\U0010ffff][A-Za-z0-9_\u0080-\U0010ffff]*"
_STEP: Final = re.compile(
    rf"\.(?P<name>{_SHORTHAND})|(?P<star>\.\*|\[\*\])|\[(?P<index>0|[1-9][0-9]{{0,8}})\]"
    r"|\['(?P<single>[^'\\\x00-\x1f]*)'\]|\[\"(?P<double>[^\"\\\x00-\x1f]*)\"\]"
)
_GRAPHQL_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LITERAL: Final = re.compile(rf"\((?P<name>{_GRAPHQL_NAME.pattern})\)")
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PATH_NAME: Final = re.compile(r"[^{}/]{1,64}")
_NAMED: Final = re.compile(r"(?P<base>[^\[\]]*)(?P<keys>(\[[^\[\]]*\])*)")
_NEVER_RULED: Final = frozenset(
    {"connection", "content-encoding", "content-length", "content-type", "host", "te", "trailer",
     "transfer-encoding", "upgrade"}
)  # fmt: skip


class WrongSelectorError(ValueError):
    """A text that selects nothing; `hint` says what would be right."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Step:
    """One step down: by a name, by an index, by either of one text, or to every child."""

    name: str | None = None
    index: int | None = None

    @property
    def is_wild(self) -> bool:
        """Whether it goes to every child."""
        return self.name is None and self.index is None

    def meets(self, other: Step) -> bool:
        """Whether one child can be found by both."""
        if self.is_wild or other.is_wild:
            return True
        same_name = self.name is not None and self.name == other.name
        return same_name or (self.index is not None and self.index == other.index)


@dataclass(frozen=True, slots=True)
class Selector:
    """A place in a request. `steps` is None for a JSONPath that only the engine can follow.

    `within` is what the steps begin in, where a place of the kind can be in different things.
    """

    kind: SelectorKind
    steps: tuple[Step, ...] | None
    within: str = ""

    def ties(self, other: Selector) -> bool:
        """Whether a field can be found by both, and neither is more specific than the other."""
        if (self.kind, self.within) != (other.kind, other.within):
            return False
        if self.steps is None or other.steps is None:
            return False
        return (
            len(self.steps) == len(other.steps)
            and _wild(self.steps) == _wild(other.steps)
            and all(one.meets(two) for one, two in zip(self.steps, other.steps, strict=True))
        )


ANY: Final = Step()
"""To every child."""


def written(kind: SelectorKind, steps: tuple[Step, ...]) -> str | None:
    """Write a selector of names and `*`; None where a name is one that no selector can say."""
    if kind == "body":
        parts = [_body_step(step) for step in steps]
        text = None if None in parts else f"body ${''.join(filter(None, parts))}"
    else:
        base, *keys = (step.name if step.name is not None else "*" for step in steps or (ANY,))
        text = f"{kind} {base}{''.join(f'[{key}]' for key in keys)}"
    try:
        is_right = text is not None and text.isprintable() and read_selector(text).steps == steps
    except WrongSelectorError:
        return None
    return text if is_right else None


def _body_step(step: Step) -> str | None:
    if step.name is None:
        return "[*]"
    if re.fullmatch(_SHORTHAND, step.name):
        return f".{step.name}"
    return next((f"[{q}{step.name}{q}]" for q in "'\"" if q not in step.name), None)


def read_selector(text: str) -> Selector:
    """Read `KIND PLACE`.

    Raises:
        WrongSelectorError: it selects nothing, and why.
    """
    kind, space, place = text.partition(" ")
    if kind not in KINDS:
        forms = (
            "like `body $.email`, `form email`, `part email`, `graphql $.email`, `csv email`, "
            "`xml /person/email`, `query email`, `header X-Email`, `path email` or `property Customer.email`"
        )
        close = did_you_mean(kind, KINDS, otherwise=" ").strip()
        raise WrongSelectorError(
            f"{shown(text)} does not begin with where it selects", close or forms
        )
    if not space or not place or place != place.strip() or len(text) > _LENGTH_MAX:
        raise WrongSelectorError(f"{shown(text)} does not say which field", f"like `{kind} email`")
    return _READERS[kind](place)


def _body(place: str) -> tuple[Step, ...] | None:
    if place.startswith("/"):
        return _pointer(place)
    if not place.startswith("$"):
        raise WrongSelectorError(
            f"{shown(place)} is not a place in a body",
            "a JSONPath begins with `$` (`$.a[*].b`), a JSON Pointer with `/` (`/a/b`)",
        )
    steps: list[Step] = []
    at = 1
    while at < len(place):
        found = _STEP.match(place, at)
        if found is None:
            return None
        steps.append(_step(found))
        at = found.end()
    return _bounded(tuple(steps), place)


def _part(place: str) -> Selector:
    name, space, inside = place.partition(" ")
    if not space:
        return Selector("part", _named(name))
    if any(step.is_wild for step in _named(name)):
        raise WrongSelectorError(
            f"{shown(place)} is not in one part", "name the part that it is in, without `*`"
        )
    if inside == "filename":
        return Selector("part", (Step(inside),), f"{name} filename")
    if not inside.startswith(("$", "/")):
        raise WrongSelectorError(
            f"{shown(inside)} is not a place in a part",
            "`filename`, or a JSONPath (`part data $.email`) where the part is JSON; a name with a "
            "space cannot be selected",
        )
    return Selector("part", _body(inside), f"{name} $")


def _file(place: str) -> Selector:
    if place != "*":
        raise WrongSelectorError(
            f"{shown(place)} is not a body of one file", "`file *`; a file in a form is a `part`"
        )
    return Selector("file", (Step(),))


def _csv(place: str) -> Selector:
    return Selector("csv", (Step() if place == "*" else Step(place),))


def _xml(place: str) -> Selector:
    path, at, attribute = place.partition("/@")
    names = path[1:].split("/")
    is_path = path.startswith("/") and all(one == "*" or is_xml_name(one) for one in names)
    if not is_path or (at and not is_xml_name(attribute)):
        raise WrongSelectorError(
            f"{shown(place)} is not a path of elements",
            "from the root on: `xml /order/customer/email`; `*` is any element, and the last one may "
            "be an attribute: `xml /order/@id`",
        )
    steps = tuple(Step() if name == "*" else Step(name) for name in names)
    if at:
        return Selector("xml", _bounded((*steps, Step(attribute)), place), "@")
    return Selector("xml", _bounded(steps, place))


def _graphql(place: str) -> Selector:
    if place.startswith(("$", "/")):
        return Selector("graphql", _body(place))
    literal = _LITERAL.fullmatch(place)
    if literal:
        return Selector("graphql", (Step(literal["name"]),), "()")
    if not _GRAPHQL_NAME.fullmatch(place):
        raise WrongSelectorError(
            f"{shown(place)} is not a place in a GraphQL request",
            "a variable (`graphql email`, `graphql $.input.email`), or an argument in parentheses "
            "that may have a value in the query itself: `graphql (first)`",
        )
    return Selector("graphql", (Step(place),))


def _path(place: str) -> Selector:
    if not _PATH_NAME.fullmatch(place):
        raise WrongSelectorError(
            f"{shown(place)} is not a path parameter", "its name alone: `path id`"
        )
    return Selector("path", (Step(place),))


def _property(place: str) -> Selector:
    schema, _, name = place.rpartition(".")
    if not schema or not name:
        raise WrongSelectorError(
            f"{shown(place)} is not a property", "`SCHEMA.PROPERTY` of the provider's document"
        )
    return Selector("property", (Step(place),))


def _step(found: re.Match[str]) -> Step:
    if found["star"]:
        return Step()
    if found["index"]:
        return Step(index=int(found["index"]))
    return Step(next(found[key] for key in ("name", "single", "double") if found[key] is not None))


def _pointer(place: str) -> tuple[Step, ...]:
    """A JSON Pointer (RFC 6901): a token of digits is an index or a name, as the document has it."""
    if re.search(r"~(?![01])", place):
        raise WrongSelectorError(f"{shown(place)} is not a JSON Pointer", "`~` is written `~0`")
    tokens = [token.replace("~1", "/").replace("~0", "~") for token in place[1:].split("/")]
    is_index = re.compile(r"0|[1-9][0-9]{0,8}").fullmatch
    steps = tuple(Step(one, int(one) if is_index(one) else None) for one in tokens)
    return _bounded(steps, place)


def _named(place: str) -> tuple[Step, ...]:
    """A name with keys in brackets (`metadata[*]`), as forms write what has parts; `*` is any name."""
    found = _NAMED.fullmatch(place)
    if found is None or not found["base"]:
        # A name that is not of this shape is one name, whatever its brackets mean to others.
        return (Step(place),)
    keys = re.findall(r"\[([^\[\]]*)\]", found["keys"])
    parts = (found["base"], *keys)
    return _bounded(tuple(Step() if part == "*" else Step(part) for part in parts), place)


def _header(name: str) -> str:
    if not _HEADER.fullmatch(name):
        raise WrongSelectorError(f"{shown(name)} is not a header's name")
    if name.lower() in _NEVER_RULED:
        raise WrongSelectorError(f"`{name}` frames or routes the call; no rule is for it")
    return name.lower()


def _bounded(steps: tuple[Step, ...], place: str) -> tuple[Step, ...]:
    if len(steps) > SEGMENTS_MAX:
        raise WrongSelectorError(f"{shown(place)} goes deeper than any body may ({SEGMENTS_MAX})")
    return steps


def _wild(steps: tuple[Step, ...]) -> int:
    return sum(step.is_wild for step in steps)


_READERS: Final[Mapping[str, Callable[[str], Selector]]] = {
    "body": lambda place: Selector("body", _body(place)),
    "form": lambda place: Selector("form", _named(place)),
    "part": _part,
    "file": _file,
    "graphql": _graphql,
    "csv": _csv,
    "xml": _xml,
    "query": lambda place: Selector("query", _named(place)),
    "header": lambda place: Selector("header", (Step(_header(place)),)),
    "path": _path,
    "property": _property,
}
