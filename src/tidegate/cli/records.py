"""`calls` and `usage`: what was called, and how much.

Neither shows a value from a call: none is kept.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter
from cyclopts.validators import Number

from tidegate.cli.outcome import DONE, Refusal
from tidegate.cli.reading import open_state
from tidegate.cli.terminal import (
    BAD,
    GOOD,
    NAME,
    QUIET,
    WEAK,
    counted,
    json_out,
    moment,
    notice,
    say,
    say_below,
    table,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidegate.domain.call import CallRecord, Gap
    from tidegate.domain.price import Price
    from tidegate.store import Revision, Store, Usage

_POLL_SECONDS: Final = 0.25
_PAGE: Final = 1_000
_LIMIT_MAX: Final = 100_000
_UNITS: Final = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
_SERVER_ERROR: Final = 500
_KIBIBYTE: Final = 1024
_Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON.")]


def calls(
    *,
    follow: Annotated[
        bool, Parameter(alias="-f", negative="", help="Go on with new calls as they come.")
    ] = False,
    client: Annotated[str | None, Parameter(metavar="CLIENT", help="Only this client's.")] = None,
    consumer: Annotated[
        str | None, Parameter(metavar="CONSUMER", help="Only this consumer's.")
    ] = None,
    provider: Annotated[
        str | None, Parameter(metavar="PROVIDER", help="Only those to this provider.")
    ] = None,
    outcome: Annotated[
        str | None,
        Parameter(metavar="OUTCOME", help="Only those that ended so: `ok`, or a problem's code."),
    ] = None,
    limit: Annotated[
        int,
        Parameter(
            alias="-n", validator=Number(gte=1, lte=_LIMIT_MAX), help="How many, the newest."
        ),
    ] = 50,
    as_json: Annotated[
        bool, Parameter(name="--json", negative="", help="Print one JSON object a line.")
    ] = False,
) -> int:
    """Show the calls that were made, oldest first.

    A refused call is followed by the reason. Of a query string only parameter names are kept.
    """
    _check_outcome(outcome)
    with open_state() as state:
        read = partial(
            state.store.calls.recent,
            client=client,
            consumer=consumer,
            provider=provider,
            outcome=outcome,
        )
        page = read(limit=limit)
        show = _show_as_json if as_json else _Lines().show
        show(page.calls)
        if not page.calls and not follow:
            notice(("no calls", QUIET))
        while follow:
            time.sleep(_POLL_SECONDS)
            page = read(limit=_PAGE, after=page.cursor)
            show(page.calls)
    return DONE


def usage(
    *,
    since: Annotated[
        str,
        Parameter(metavar="WHEN", help="From when: `30m`, `24h`, `7d` ago, or a date (ISO 8601)."),
    ] = "30d",
    as_json: _Json = False,
) -> int:
    """Count calls by client, provider and operation, by whole hours.

    `refused` are calls that Tidegate did not let through, `failed` those it could not complete,
    `saved` those that were answered by what was stored, so that the provider was not asked. Where
    prices are declared, it also says what those would have cost, at the prices in force.
    """
    start = _moment_of(since)
    with open_state() as state:
        sums = state.store.calls.usage(since=start)
        missing = _gaps_since(state.store, start)
        worth = _worth(sums, state.store.revisions.current())
    if as_json:
        rows = [
            asdict(one) | {"worth": _money(price)} for one, price in zip(sums, worth, strict=True)
        ]
        json_out({"usage": rows, "gaps": list(map(asdict, missing))})
        return DONE
    columns = ("calls", "ok", "refused", "failed", "saved", "sent", "received", "p50", "p95")
    columns += ("worth",) if any(worth) else ()
    table(
        ("client", "provider", "operation", *((name, "right") for name in columns)),
        [
            _usage_row(one) + ((str(price or "-"),) if any(worth) else ())
            for one, price in zip(sums, worth, strict=True)
        ],
    )
    if any(worth):
        say(("worth ", GOOD), _total(worth))
    for gap in missing:
        after = moment(datetime.fromtimestamp(gap.after_ms / 1000, UTC))
        most = counted(gap.events_max, "call")
        notice(("gap ", WEAK), f" at most {most} after {after} not recorded: {gap.reason}")
    return DONE


class _Lines:
    """Prints calls under each other; a column grows when a longer word comes."""

    def __init__(self) -> None:
        self._widths = [0] * 7

    def show(self, records: Sequence[CallRecord]) -> None:
        rows = [(record, _words(record)) for record in records]
        for _, words in rows:
            self._widths = list(map(max, self._widths, map(len, words)))
        for record, words in rows:
            self._show(record, words)

    def _show(self, record: CallRecord, words: Sequence[str]) -> None:
        at, outcome, status, *names = map(str.ljust, words, self._widths)
        say(
            (at, QUIET),
            "  ",
            (outcome, _colour(record)),
            f"  {status}  {'  '.join(names)}",
            (f"  {_duration(record.total_us)}", QUIET),
            (f"  {record.cache}" if record.cache else "", QUIET),
            ("  weak" if record.weak else "", QUIET),
        )
        if record.outcome != "ok" and record.detail:
            say_below((record.detail, QUIET), indent=self._widths[0] + 2)
        for told in (_fate(record), _fields(record), _would(record)):
            if told:
                say_below((told, QUIET), indent=self._widths[0] + 2)
        if record.schema:
            say_below((f"would be refused: {record.schema}", WEAK), indent=self._widths[0] + 2)


def _words(record: CallRecord) -> tuple[str, ...]:
    return (
        moment(datetime.fromtimestamp(record.at_ms / 1000, UTC)),
        record.outcome,
        str(record.status),
        record.consumer or "-",
        record.client or "-",
        record.provider or "-",
        record.operation or record.method,
    )


def _fate(record: CallRecord) -> str:
    """What it took to get the answer, where it was more than one try."""
    parts = (
        counted(record.retries, "repeat") if record.retries else "",
        f"answered by {record.failover}" if record.failover else "",
        f"second request {record.hedge}" if record.hedge else "",
        f"breaker {record.breaker}" if record.breaker else "",
    )
    return ", ".join(part for part in parts if part)


def _fields(record: CallRecord) -> str:
    """Which fields left and which did not, by their rules; never what stood in them."""
    sent = [one.at if one.do == "allow" else f"{one.at} ({one.do})" for one in record.sent]
    withheld = [one.at for one in record.withheld]
    parts = (
        f"sent {', '.join(sent)}" if sent else "",
        f"withheld {', '.join(withheld)}" if withheld else "",
        f"consent {record.subject_consent}" if record.subject_consent else "",
    )
    return "; ".join(part for part in parts if part)


def _would(record: CallRecord) -> str:
    """What becomes of such a call once its policy enforces."""
    would = record.would
    if would is None:
        return ""
    if would.outcome != "ok":
        return f"would be refused: {would.outcome}: {would.detail}"
    changed = [f"{one.at} ({one.do})" for one in would.sent if one.do != "allow"]
    changed += [f"{one.at} (drop)" for one in would.withheld]
    return f"would go with {', '.join(changed)}" if changed else "would go as it is"


def _show_as_json(records: Sequence[CallRecord]) -> None:
    for record in records:
        json_out(asdict(record), indent=None)


def _colour(record: CallRecord) -> str:
    if record.outcome != "ok":
        return BAD
    return GOOD if record.decision != "report" and record.status < _SERVER_ERROR else WEAK


def _check_outcome(outcome: str | None) -> None:
    from tidegate.problems import PROBLEMS

    if outcome is not None and outcome != "ok" and outcome not in PROBLEMS:
        raise Refusal(
            f"`{outcome}` is no way in which a call ends",
            f"it is `ok`, or one of {', '.join(PROBLEMS)}",
        )


def _moment_of(text: str) -> datetime:
    unit = _UNITS.get(text[-1:])
    if unit is not None and text[:-1].isdecimal():
        return datetime.now(UTC) - min(int(text[:-1]), 100_000) * unit
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        raise Refusal(
            f"`{text}` is no time", "write `30m`, `24h`, `7d`, `2026-01-31` or `2026-01-31T08:00`"
        ) from None


def _gaps_since(store: Store, start: datetime) -> list[Gap]:
    return [gap for gap in store.calls.gaps() if gap.noticed_ms >= start.timestamp() * 1000]


def _usage_row(one: Usage) -> tuple[str | tuple[str, str], ...]:
    return (
        one.client or "-",
        (one.provider or "-", NAME),
        one.operation or "-",
        f"{one.calls:,}",
        f"{one.ok:,}",
        (f"{one.refused:,}", WEAK if one.refused else QUIET),
        (f"{one.failed:,}", BAD if one.failed else QUIET),
        (f"{one.saved:,}", GOOD if one.saved else QUIET),
        _size(one.sent_bytes),
        _size(one.received_bytes),
        _duration(one.p50_us),
        _duration(one.p95_us),
    )


def _worth(sums: Sequence[Usage], revision: Revision | None) -> list[Price | None]:
    """What the saved calls would have cost, where that is known."""
    providers = {one.name: one for one in revision.declaration.providers} if revision else {}
    worth: list[Price | None] = []
    for one in sums:
        provider = providers.get(one.provider or "")
        price = provider.price_of(one.operation or "") if provider and one.saved else None
        worth.append(price.times(one.saved) if price else None)
    return worth


def _total(worth: Sequence[Price | None]) -> str:
    sums: dict[str, Price] = {}
    for price in filter(None, worth):
        before = sums.get(price.currency)
        sums[price.currency] = before.plus(price) if before else price
    return ", ".join(map(str, sums.values()))


def _money(price: Price | None) -> dict[str, str] | None:
    return price and {"amount": f"{price.amount:f}", "currency": price.currency}


def _duration(microseconds: int | None) -> str:
    if microseconds is None:
        return "-"
    if microseconds < 1_000_000:  # noqa: PLR2004
        return f"{microseconds / 1_000:.1f} ms"
    return f"{microseconds / 1_000_000:.2f} s"


def _size(count: int) -> str:
    if count < _KIBIBYTE:
        return f"{count} B"
    size = float(count)
    for unit in ("KiB", "MiB", "GiB"):
        size /= _KIBIBYTE
        if size < _KIBIBYTE:
            return f"{size:.1f} {unit}"
    return f"{size / _KIBIBYTE:.1f} TiB"
