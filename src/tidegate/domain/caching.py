"""What may be stored of a provider's answers, and given again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Sharing = Literal["off", "principal", "credential", "public"]
BodyForm = Literal["exact", "json", "form", "graphql", "llm"]


@dataclass(frozen=True, slots=True)
class CacheRules:
    """The rules of one operation (RFC 9111); times are in milliseconds.

    `mode` says who may be given what was stored for another call: nobody, calls of the same connection,
    calls with an equal credential, or everybody where the provider allows it. `ttl_ms` is for answers that
    say no lifetime themselves. The `stale_*_ms` say how long after its end an answer stands in for a failed
    provider, is given while its successor is fetched, or where a quota is used up; `max_stale_ms` how far a
    consumer's own `max-stale` goes. `ignore` names query parameters that part no answers. `body` says how a
    body is keyed, `read_only` that a POST changes nothing. `targeted` are fields that win over
    `Cache-Control` (RFC 9213), `actors` request fields that say for whom a call acts, `unkeyed` those that
    part no answers where these are shared.
    """

    mode: Sharing = "principal"
    ttl_ms: int = 0
    stale_if_error_ms: int = 0
    stale_while_revalidate_ms: int = 0
    stale_on_throttle_ms: int = 0
    max_stale_ms: int = 0
    heuristic: bool = False
    private: bool = False
    errors: bool = False
    ignore: tuple[str, ...] = ()
    sort: bool = False
    no_vary_search: bool = False
    body: BodyForm | None = None
    read_only: bool = False
    targeted: tuple[str, ...] = ()
    actors: tuple[str, ...] = ()
    unkeyed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Caching:
    """A provider's rules: each once, and for each of its operations the number of its own."""

    rules: tuple[CacheRules, ...]
    of: tuple[int, ...]
