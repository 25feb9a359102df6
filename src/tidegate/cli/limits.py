"""`limits`: where every limit stands in the running gateway."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter
from cyclopts.validators import Number

from tidegate.cli.outcome import DONE
from tidegate.cli.terminal import BAD, NAME, QUIET, WEAK, json_out, say, table

if TYPE_CHECKING:
    from tidegate.app import Home

_LOW: Final = 0.1
"""Of what there is, left: below this it is shown as low."""

_UNITS: Final = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000))
_Cell = str | tuple[str, str]


def limits(
    *,
    client: Annotated[
        str | None, Parameter(metavar="CLIENT", help="Only what counts this client's calls.")
    ] = None,
    provider: Annotated[
        str | None, Parameter(metavar="PROVIDER", help="Only this provider's quotas.")
    ] = None,
    follow: Annotated[
        bool, Parameter(alias="-f", negative="", help="Show it again and again.")
    ] = False,
    every: Annotated[
        float,
        Parameter(metavar="SECONDS", validator=Number(gte=0.2, lte=3_600), help="How often."),
    ] = 1.0,
    as_json: Annotated[
        bool,
        Parameter(name="--json", negative="", help="Print JSON; with `--follow`, one a line."),
    ] = False,
) -> int:
    """Show what is left of every limit in the gateway that runs on this installation.

    First the providers' quotas, by connection; then the limits on clients, consumers and grants. A
    limit that counts each client apart is shown for each client that called.
    """
    from tidegate.app import Home

    home = Home.from_environment()
    while True:
        found = _asked(home, client, provider)
        if as_json:
            json_out(found, indent=None if follow else 2)
        else:
            _show(found)
        if not follow:
            return DONE
        time.sleep(every)
        if not as_json:
            say()


def _asked(home: Home, client: str | None, provider: str | None) -> dict[str, Any]:
    from tidegate.app.asking import ask

    found = ask(home, "limits")
    quotas, buckets = found.get("quotas", []), found["consumer_side"]
    if client is not None:
        quotas = [one for one in quotas if one["client"] == client]
        buckets = [one for one in buckets if client in (one["client"], _own_client(one))]
    if provider is not None:
        quotas, buckets = [one for one in quotas if one["provider"] == provider], []
    return {"quotas": quotas, "consumer_side": buckets}


def _own_client(bucket: dict[str, Any]) -> str | None:
    return bucket["name"] if bucket["scope"] == "client" else None


def _show(found: dict[str, Any]) -> None:
    if found["quotas"]:
        columns: list[_Cell] = ["provider", "quota", "allows", "client", "connection"]
        numbers = ("limit", "used", "left", "again in", "waiting", "under way")
        table([*columns, *((name, "right") for name in numbers)], map(_quota, found["quotas"]))
        say()
    columns = ["limit on", "name", "client", "rate"]
    numbers = ("at once", "left", "under way", "refused")
    rows = map(_bucket, found["consumer_side"])
    table([*columns, *((name, "right") for name in numbers)], rows)


def _quota(one: dict[str, Any]) -> list[_Cell]:
    waiting = one["waiting"]
    again_ms = one["closed_ms"] or one["reset_ms"]
    return [
        (one["provider"], NAME),
        one["quota"] + (f" ({one['part']})" if one["part"] else ""),
        (f"{one['describe']}, {one['model']}", QUIET),
        one["client"] or "all",
        one["connection_name"] or "-",
        f"{one['limit']:,}",
        f"{one['used']:,}",
        _left(one["left"], one["limit"]),
        (f"closed {_time(again_ms)}", BAD) if one["closed_ms"] else _time(again_ms),
        (f"{waiting:,}", WEAK if waiting else QUIET),
        (f"{one['in_flight']:,}", "" if one["in_flight"] else QUIET),
    ]


def _bucket(one: dict[str, Any]) -> list[_Cell]:
    rate = "-" if one["amount"] is None else f"{one['amount']:,}/{_window(one['window_ms'])}"
    bound = one["concurrency"]
    under_way: _Cell = f"{one['in_flight']:,} of {bound:,}" if bound is not None else ("-", QUIET)
    return [
        one["scope"],
        (one["name"], NAME),
        one["client"] or "all",
        rate,
        "-" if one["burst"] is None else f"{one['burst']:,}",
        ("-", QUIET) if one["left"] is None else _left(one["left"], one["burst"] or 0),
        under_way,
        (f"{one['refused']:,}", WEAK if one["refused"] else QUIET),
    ]


def _left(left: int, of: int) -> _Cell:
    return f"{left:,}", BAD if left == 0 else WEAK if left < of * _LOW else ""


def _window(window_ms: int) -> str:
    for unit, unit_ms in _UNITS:
        if window_ms % unit_ms == 0:
            count = window_ms // unit_ms
            return unit if count == 1 else f"{count}{unit}"
    return f"{window_ms}ms"


def _time(time_ms: int | None) -> str:
    if time_ms is None:
        return "-"
    for unit, unit_ms in _UNITS:
        if time_ms >= unit_ms:
            return f"{time_ms / unit_ms:.0f} {unit}"
    return f"{time_ms} ms"
