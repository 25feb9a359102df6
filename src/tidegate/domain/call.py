"""The stored form of an event: one call, on whichever exit, without a single value from it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldRecord:
    """What a policy did to the fields that one of its rules selects.

    `at` is the rule's selector as it is declared, never a name or a value from the call; `do` the action.
    """

    at: str
    category: str | None
    do: str


@dataclass(frozen=True, slots=True)
class WouldRecord:
    """What would have become of a call whose policy only reports as yet: `ok`, or a problem's code."""

    outcome: str
    detail: str | None
    sent: tuple[FieldRecord, ...] = ()
    withheld: tuple[FieldRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class ShapeRecord:
    """What stood at one place of some calls, without a value of theirs.

    `at` is a selector of protection policies, with `*` for indexes and for names that may be data; it is
    empty for a call as a whole. `kind` is `call`, `unread`, or what JSON calls the value. `marks` count
    what the values looked like.
    """

    at: str
    kind: str
    count: int
    marks: dict[str, int]


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One call. Times: `at_ms` is Unix milliseconds, `*_us` are microseconds.

    `quota` says how the call came by its provider's quotas (`at_once`, `waited`, or why it did not),
    `wait_ms` how long it waited for them, `cost` what it took of them.
    `outcome` is `ok` or the problem's code. `decision` is `allow`, `deny` or `report`; `rule` names
    the grant or denial. `query` holds parameter names only. `cache` is what the cache did,
    where the operation is declared as cached. `steps_us` is step name → duration.
    `retries` counts tries after the first. `breaker` is what the breaker did to this call (`open`,
    `probe`) or this call to it (`opened`, `closed`); `failover` the origin that stood in for the
    operation's own; `hedge` what became of a second request (`won`, `lost`). `schema` says what of it
    does not fit what is declared of requests and answers, and would be refused if that were enforced.
    `sent` and `withheld` name the rules by which fields left and did not, where the operation has a
    policy; `weak` says that the call carried something and that it has none. `would` is what its
    policy would have made of the call, while it only reports. `agreements` names those by which the
    call's personal data went, with spaces between; `purpose` is the policy's, and `subjects` are those
    whom the call was about, as keyed indexes in hexadecimal. `subject_consent` says what they decided
    and when, where the policy asks for it: `granted at …`, or `none` and why. `shapes` are those of this call and
    of some before it that are to be counted; they are kept apart from the call.
    """

    id: str
    at_ms: int
    client: str | None
    consumer: str | None
    provider: str | None
    operation: str | None
    method: str
    decision: str | None
    rule: str | None
    revision: int
    outcome: str
    detail: str | None
    status: int
    provider_status: int | None
    sent_bytes: int
    received_bytes: int
    total_us: int
    provider_us: int | None
    steps_us: dict[str, int]
    tls_version: str | None
    tls_group: str | None
    address: str | None
    http: str
    retries: int
    token: str | None
    connection: str | None
    cache: str | None = None
    query: tuple[str, ...] = ()
    breaker: str | None = None
    failover: str | None = None
    hedge: str | None = None
    quota: str | None = None
    wait_ms: int | None = None
    cost: int | None = None
    schema: str | None = None
    sent: tuple[FieldRecord, ...] = ()
    withheld: tuple[FieldRecord, ...] = ()
    weak: bool = False
    would: WouldRecord | None = None
    purpose: str | None = None
    agreements: str | None = None
    subjects: tuple[str, ...] = ()
    subject_consent: str | None = None
    shapes: tuple[ShapeRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class Gap:
    """What is known to be missing from the records: an engine that ended without closing its spool.

    At most `events_max` events after `after_ms` (Unix milliseconds) are not in the records; None when the
    count is known to be `events` exactly.
    """

    noticed_ms: int
    after_ms: int
    events_max: int
    reason: str
