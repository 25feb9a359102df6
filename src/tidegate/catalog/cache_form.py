"""The form of `cache`: what may be stored of a provider's answers, and given again."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.functional_validators import model_validator

from tidegate.catalog.entry import Entry
from tidegate.catalog.fields import HeaderName, LongDuration, refuse


class CacheRulesEntry(Entry):
    """What may be stored of an operation's answers; nothing that is not said here is guessed."""

    mode: Literal["off", "principal", "credential", "public"] = "principal"
    """Who may be given an answer again: nobody; the same connection; connections with the same \
credential; everybody, where the provider calls the answer public."""
    ttl: LongDuration = 0
    """How long an answer counts as fresh that says no lifetime itself."""
    stale_if_error: LongDuration = 0
    """How long after its end an answer stands in for a provider that fails."""
    stale_while_revalidate: LongDuration = 0
    """How long after its end an answer is given while its successor is fetched."""
    stale_on_throttle: LongDuration = 0
    """How long after its end an answer stands in where a quota is used up."""
    max_stale: LongDuration = 0
    """How far a consumer's own `max-stale` is honoured."""
    heuristic: bool = False
    """Guess a lifetime from `Last-Modified` where the provider says none."""
    private: bool = False
    """Store what the provider marks `private`, for its principal alone."""
    errors: bool = False
    """Store answers from 400 on, too, where the provider itself calls them fresh."""
    ignore: list[Annotated[str, Field(min_length=1)]] = []
    """Query parameters that part no answers (`utm_source`)."""
    sort: bool = False
    """The order of query parameters parts no answers."""
    no_vary_search: bool = False
    """Believe the provider where it says by `No-Vary-Search` which parameters matter."""
    body: Literal["exact", "json", "form", "graphql", "llm"] | None = None
    """How a request's body is compared, for QUERY and for a `read_only` POST."""
    read_only: bool = False
    """A POST changes nothing: its answers may be stored. Only for operations that are named."""
    targeted: list[HeaderName] = []
    """Fields that win over `Cache-Control` (RFC 9213), the first first."""
    actors: list[HeaderName] = []
    """Request fields that say for whom a call acts (`Stripe-Account`): they part principals."""
    unkeyed: list[HeaderName | Literal["*"]] = []
    """Request fields that part no answers where these are shared; `*` is all."""

    @model_validator(mode="after")
    def _fits(self) -> CacheRulesEntry:
        if self.private and self.mode in {"credential", "public"}:
            refuse(
                f"`private` answers are not shared by `mode: {self.mode}`", "use `mode: principal`"
            )
        if self.unkeyed and self.mode not in {"credential", "public"}:
            refuse(
                "`unkeyed` is for shared answers",
                "it goes with `mode: credential` or `mode: public`",
            )
        return self


class CacheEntry(CacheRulesEntry):
    """What may be stored of a provider's answers, and what is different for some operations."""

    operations: dict[str, CacheRulesEntry] = {}
    """Rules of single operations, by id or `METHOD /path` (with `*`); what they do not say holds as \
above, and of several that fit the first one counts."""
