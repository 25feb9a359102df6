"""Count the built-in providers that can be used as they are, with their scheme and where their facts are from."""

from __future__ import annotations

from bench.measure import Effort, Outcome, Table
from bench.stage import Stage
from tidegate.catalog import presets
from tidegate.credentials.fields import scheme_of, wanted_fields
from tidegate.domain.declaration import Declaration
from tidegate.engine import check_snapshot
from tidegate.snapshot import compile_snapshot


def measure(_stage: Stage, _effort: Effort) -> Outcome:
    schemes: dict[str, str] = {}
    for name, preset in presets().items():
        provider = preset.provider
        # An engine must take it, and a credential for it must have fields.
        check_snapshot(compile_snapshot(Declaration(providers=(provider,)), 1, (), ()))
        if wanted_fields(provider) and preset.source.startswith("https://"):
            schemes[name] = scheme_of(provider).partition(" ")[0]
    kinds = sorted(set(schemes.values()))
    rows = [(kind, str(list(schemes.values()).count(kind))) for kind in kinds]
    return Outcome(
        figures={"credentials.presets": float(len(schemes))},
        table=Table("Built-in providers by scheme", ("scheme", "providers"), rows),
        rounds=schemes,
    )
