"""What requests and answers are held against, and what of an answer reaches its consumer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CheckMode = Literal["off", "report", "enforce"]
"""Not looked at; passed on and recorded as what would be refused; refused."""

BODY_MAX_BYTES = 1024**2


@dataclass(frozen=True, slots=True)
class CheckRules:
    """The rules of one operation.

    `requests` and `responses` say what becomes of what does not fit the provider's document; `unknown` of
    query parameters that the document does not name. `answers` says what becomes of an answer that breaks
    one of the rules after it: its media type is none of `types` (empty: any), its JSON holds HTML (`html`)
    or a name that reaches into JavaScript's prototypes (`prototype`); where it only reports, nothing is
    changed either. `keep` and `drop` are JSONPaths (RFC 9535): of a successful answer, only what `keep`
    selects is passed on (empty: all), less what `drop` selects. A body of more than `body_max_bytes`, coded
    or decoded, is not looked into.
    """

    requests: CheckMode = "off"
    responses: CheckMode = "off"
    unknown: Literal["allow", "reject"] = "allow"
    answers: CheckMode = "enforce"
    types: tuple[str, ...] = ()
    html: Literal["allow", "escape", "refuse"] = "allow"
    prototype: Literal["allow", "drop", "refuse"] = "allow"
    keep: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    body_max_bytes: int = BODY_MAX_BYTES

    @property
    def looks_at_answers(self) -> bool:
        """Whether anything is said of answers besides the document."""
        wanted = self.types or self.keep or self.drop
        said = wanted or self.html != "allow" or self.prototype != "allow"
        return bool(said) and self.answers != "off"

    @property
    def in_words(self) -> str:
        """What is checked, for a line in a list."""
        said = [
            f"{what} {'refused' if mode == 'enforce' else 'reported'}"
            for what, mode in (("requests", self.requests), ("answers", self.responses))
            if mode != "off"
        ]
        if self.looks_at_answers:
            said.append("rules for answers" + ("" if self.answers == "enforce" else " reported"))
        return ", ".join(said)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is checked or changed."""
        return self.requests == self.responses == "off" and not self.looks_at_answers


@dataclass(frozen=True, slots=True)
class Checking:
    """A provider's rules: each once, and for each of its operations the number of its own, or none.

    `schemas` is what the provider's document says of the operations that are held against it: JSON text,
    described in docs/reference/snapshot.md. It is kept as text because few calls ever need it.
    """

    rules: tuple[CheckRules, ...]
    of: tuple[int | None, ...]
    schemas: str = ""

    def of_operation(self, number: int) -> CheckRules | None:
        """The rules of an operation; None where it has none."""
        rule = self.of[number]
        return None if rule is None else self.rules[rule]
