"""Draft a policy of what calls were seen to send and of what the provider's document declares.

The draft is for a person to read: it says of each field what was seen of it, and what probably is to
become of it. What nobody has seen or declared is refused. It holds no value of a call; names that come
from calls or from documents are written so that YAML reads them as names.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Final

from tidegate.catalog.openapi.places import DeclaredPlace
from tidegate.catalog.protection_form import FIELDS_MAX, TO_BE_SAID
from tidegate.catalog.selectors import ANY, Selector, WrongSelectorError, read_selector, written
from tidegate.domain.category import is_personal
from tidegate.domain.shape import CALL, REPEATED, UNREAD, Shape
from tidegate.privacy.field_words import FieldWords, kind_of

REPORT_DAYS: Final = 28
"""How long a drafted policy only reports."""

_SCALARS: Final = frozenset({"string", "number", "integer", "boolean"})
_HEAD: Final = """\
# A draft of `tidegate protect suggest`: what was seen and declared, not what is right. Read each line, take out
# what the provider need not get, and merge it, or name this file under `include`. What is personal goes only
# under an agreement (`tidegate agreements`), also while the policy only reports.
protection:
"""


@dataclass(frozen=True, slots=True)
class Sends:
    """What is known of an operation: shapes of calls, and what a document declares (None: it says nothing)."""

    operation: str
    shapes: Sequence[Shape]
    declared: Sequence[DeclaredPlace] | None


@dataclass(frozen=True, slots=True)
class _Rule:
    """One line of a draft. `looks` count marks, `kinds` are those that were seen or declared."""

    selector: Selector
    at: str
    seen: int = 0
    kinds: frozenset[str] = frozenset()
    looks: dict[str, int] = field(default_factory=dict[str, int])
    form: str = ""
    is_declared: bool = False
    repeats: bool = False
    is_guard: bool = False
    """It refuses what nobody has seen below a place that must have a rule."""
    names_are_data: bool = False
    """Names on the way there are no API's own, or too many: `*` stands for them."""

    @property
    def is_for_anything(self) -> bool:
        """Whether it is for whatever names stand at the top of a request."""
        return self.names_are_data and bool(self.selector.steps) and self.selector.steps[0].is_wild


def draft(
    provider: str,
    operations: Iterable[Sends],
    today: date,
    purpose: str | None = None,
) -> str:
    """Write policies for some operations of a provider."""
    until = today + timedelta(days=REPORT_DAYS)
    policies = (_policy(provider, one, until, purpose) for one in operations)
    return _HEAD + "\n".join("\n".join(lines) + "\n" for lines in policies)


def is_known(sends: Sends) -> bool:
    """Whether there is anything to draft of."""
    return bool(_rules(sends))


def _policy(provider: str, sends: Sends, until: date, purpose: str | None) -> Iterator[str]:
    calls = _calls(sends.shapes)
    rules = _rules(sends)
    lines = [_field(one, calls, has_document=sends.declared is not None) for one in rules]
    unread = sum(one.count for one in sends.shapes if one.kind == UNREAD)
    yield f"  # {_counted(calls, 'sampled call')}; {_known_by(sends.declared)}"
    if unread:
        yield (
            f"  # {_counted(unread, 'body', 'bodies')} could not be read: neither JSON nor a form, "
            "compressed, or larger than 64 KiB"
        )
    yield f"  - operations: [{_quoted(f'{provider}:{sends.operation}')}]"
    yield f"    purpose: {purpose or f'{TO_BE_SAID}  # what is it sent for? like `payment` or `marketing.email`'}"
    if any(is_personal(line.category) for line in lines if line.category):
        yield "    # legal_basis: contract  # or consent, legal_obligation, legitimate_interests, …"
        yield "    # subjects: [customer]"
    yield "    unknown_fields: reject"
    yield f"    report_until: {until}  # until then calls go as they are"
    if not lines:
        yield "    fields: []"
        return
    yield "    fields:"
    yield from (f"      - {{{line.text}}}  # {line.comment}" for line in lines)


@dataclass(frozen=True, slots=True)
class _Line:
    text: str
    category: str
    comment: str


def _field(rule: _Rule, calls: int, *, has_document: bool) -> _Line:
    kind = None if rule.is_guard else _kind(rule)
    category = kind.category if kind else ""
    is_refused = rule.is_guard or rule.is_for_anything or (kind is not None and kind.do == "reject")
    parts = [f"at: {_quoted(rule.at)}"]
    if category:
        parts.append(f"category: {category}")
    parts.append(f"do: {'reject' if is_refused else 'allow'}")
    if rule.repeats and not rule.at.endswith("[]"):
        parts.append("repeated: true")
    return _Line(
        ", ".join(parts),
        category,
        "; ".join(_comments(rule, kind, calls, has_document=has_document)),
    )


def _comments(
    rule: _Rule, kind: FieldWords | None, calls: int, *, has_document: bool
) -> Iterator[str]:
    if rule.is_guard:
        yield "nothing else was seen there"
        return
    if not rule.seen:
        yield "only in the document"
    else:
        yield f"seen in {min(rule.seen, calls):,} of {_counted(calls, 'call')}"
        if has_document and not rule.is_declared:
            yield "not in the document"
    for look, count in sorted(rule.looks.items()):
        if look != REPEATED:
            yield f"{min(count, rule.seen):,} looked like `{look}`"
    if rule.is_for_anything:
        yield "names there look like data: name those that must go"
    elif rule.names_are_data:
        yield "names there look like data, and go too"
    if kind is not None and kind.do == "reject":
        yield "must it leave at all?"
    elif kind is not None and is_personal(kind.category):
        yield "personal: who needs it?"


def _kind(rule: _Rule) -> FieldWords | None:
    names = [step.name for step in rule.selector.steps or () if step.name]
    return kind_of(names, rule.form, rule.looks)


def _rules(sends: Sends) -> list[_Rule]:
    """A rule for each place: what was seen first, then what is only declared, each with what it needs below."""
    found = _seen(sends.shapes)
    for place in sends.declared or ():
        selector = _selector(place.at)
        if selector is None:
            continue
        known = found.get(selector) or _Rule(selector, place.at)
        found[selector] = replace(
            known,
            kinds=known.kinds | place.kinds,
            form=place.format,
            repeats=known.repeats or place.repeats,
        )
    declared = [one for place in sends.declared or () if (one := _selector(place.at))]
    marked = [replace(one, is_declared=_covered(one.selector, declared)) for one in found.values()]
    seen_first = sorted(marked, key=lambda one: not one.seen)
    rules = _untied(seen_first)
    return _guarded(rules)[:FIELDS_MAX]


def _seen(shapes: Sequence[Shape]) -> dict[Selector, _Rule]:
    found: dict[Selector, _Rule] = {}
    for shape in shapes:
        selector = _selector(shape.at) if shape.kind not in {CALL, UNREAD} else None
        if selector is None:
            continue
        is_data = shape.at in {"form *", "query *"} or ".*" in shape.at
        known = found.get(selector) or _Rule(selector, shape.at, names_are_data=is_data)
        looks: defaultdict[str, int] = defaultdict(int, known.looks)
        for mark, count in shape.marks.items():
            looks[mark] += count
        found[selector] = replace(
            known,
            seen=known.seen + shape.count,
            kinds=known.kinds | {shape.kind},
            looks=looks,
            repeats=known.repeats or REPEATED in shape.marks,
        )
    return found


def _selector(at: str) -> Selector | None:
    try:
        selector = read_selector(at)
    except WrongSelectorError:
        return None
    return selector if selector.steps is not None else None


def _covered(selector: Selector, declared: Collection[Selector]) -> bool:
    """Whether a document has a place, or one above it of which it says no more."""
    steps = selector.steps or ()
    return any(
        other.kind == selector.kind
        and len(other.steps or ()) <= len(steps)
        and all(one.meets(two) for one, two in zip(other.steps or (), steps, strict=False))
        for other in declared
    )


def _untied(rules: Sequence[_Rule]) -> list[_Rule]:
    """Join rules that could select one field while neither says more: no policy may have both."""
    kept: list[_Rule] = []
    for rule in rules:
        joined = rule
        while twin := next((one for one in kept if one.selector.ties(joined.selector)), None):
            kept.remove(twin)
            joined = _joined(twin, joined)
        kept.append(joined)
    return kept


def _joined(one: _Rule, other: _Rule) -> _Rule:
    pairs = zip(one.selector.steps or (), other.selector.steps or (), strict=True)
    steps = tuple(mine if mine == theirs else ANY for mine, theirs in pairs)
    at = written(one.selector.kind, steps) or one.at
    looks = {
        mark: one.looks.get(mark, 0) + other.looks.get(mark, 0) for mark in one.looks | other.looks
    }
    return replace(
        one,
        selector=Selector(one.selector.kind, steps),
        at=at,
        names_are_data=True,
        seen=one.seen + other.seen,
        kinds=one.kinds | other.kinds,
        looks=looks,
        form=one.form or other.form,
        is_declared=one.is_declared and other.is_declared,
        repeats=one.repeats or other.repeats,
    )


def _guarded(rules: Sequence[_Rule]) -> list[_Rule]:
    """A rule is for all below its place; where things stand in other things, let nothing else go there."""
    taken = [one.selector for one in rules]
    inner = {
        Selector(one.kind, (one.steps or ())[:depth])
        for one in taken
        for depth in range(len(one.steps or ()))
    }
    guarded: list[_Rule] = []
    for rule in rules:
        guarded.append(rule)
        if not (_holds_others(rule) or rule.selector in inner):
            continue
        steps = (*(rule.selector.steps or ()), ANY)
        guard, at = Selector(rule.selector.kind, steps), written(rule.selector.kind, steps)
        if at is None or guard in taken or any(guard.ties(one) for one in taken):
            continue
        taken.append(guard)
        guarded.append(_Rule(guard, at, is_guard=True))
    return guarded


def _holds_others(rule: _Rule) -> bool:
    return bool(rule.kinds & {"object", "array"}) or not rule.kinds & _SCALARS


def _calls(shapes: Sequence[Shape]) -> int:
    return sum(one.count for one in shapes if one.kind == CALL)


def _known_by(declared: Sequence[DeclaredPlace] | None) -> str:
    if declared is None:
        return "the provider's document says nothing of it"
    return f"{_counted(len(declared), 'place')} in the provider's document"


def _counted(number: int, noun: str, nouns: str = "") -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {nouns or f'{noun}s'}"


def _quoted(text: str) -> str:
    """A text as YAML reads it, whatever stands in it."""

    def escaped(letter: str) -> str:
        if letter in {'"', "\\"}:
            return f"\\{letter}"
        return letter if letter.isprintable() else f"\\U{ord(letter):08x}"

    return f'"{"".join(map(escaped, text))}"'
