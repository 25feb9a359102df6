"""Play a file of loads against a declaration: what would be sent, what would wait, what would be refused."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from tidegate.app.explaining import request_for
from tidegate.catalog import ConfigErrors
from tidegate.catalog.loads import LoadEntry, Loads
from tidegate.domain.declaration import Declaration, Provider
from tidegate.engine.simulate import LoadPlayed, Played, simulate
from tidegate.snapshot import compile_snapshot

BINS: Final = 60
"""Into how many parts a play is told."""
_VARIABLE: Final = re.compile(r"\{[^{}]*\}")


def play(declaration: Declaration, loads: Loads) -> Played:
    """Play it. No connection has to be made before: each client is taken to have one at each provider.

    Raises:
        ConfigErrors: a load could not be made, whatever the limits.
    """
    entry = loads.entry
    bare = replace(declaration, providers=tuple(map(_bare, declaration.providers)))
    snapshot = compile_snapshot(bare, 1, (), ())
    played = simulate(
        snapshot,
        [_played(declaration, load, entry.duration) for load in entry.loads],
        duration_ms=entry.duration,
        seed=entry.seed,
        begins=int(datetime.now(UTC).timestamp()),
        bins=BINS,
    )
    if played.refused:
        raise ConfigErrors(
            loads.source.error(
                ("loads", number, "call"),
                f"this call would be refused before any limit: {why}",
                "`tidegate explain` says step by step why",
            )
            for number, why in played.refused
        )
    return played


def _bare(provider: Provider) -> Provider:
    """The provider without credentials: each client's calls are counted as by one connection of its own."""
    return replace(
        provider,
        origins=tuple(_VARIABLE.sub("simulated", origin) for origin in provider.origins),
        variables=(),
        variable_rules=(),
        attach=(),
        sign=None,
        token_grant=None,
        login=None,
        tls=replace(provider.tls, client_certificate=False),
    )


def _played(declaration: Declaration, load: LoadEntry, duration_ms: int) -> LoadPlayed:
    method, _, url = load.call.partition(" ")
    arrival: dict[str, str | float]
    if load.arrival.bursts is not None:
        bursts = load.arrival.bursts
        arrival = {"kind": "bursts", "calls": bursts.calls, "every_ms": bursts.every}
    else:
        kind = "constant" if load.arrival.constant else "poisson"
        arrival = {"kind": kind, "per_second": load.arrival.per_ms * 1_000}
    return LoadPlayed(
        call=request_for(
            declaration,
            load.consumer,
            method.upper(),
            url,
            client=load.client,
            connection=None,
        ),
        arrival=arrival,
        from_ms=load.begin or 0,
        until_ms=min(load.end or duration_ms, duration_ms),
        takes_ms=load.takes,
        call_class=load.call_class,
        patience_ms=load.patience,
    )
