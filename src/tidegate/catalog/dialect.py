"""The built-in dialects, one YAML each in `dialects/`, and dialects of the operator's own."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

from tidegate.catalog.dialect_form import BudgetEntry, DialectEntry, SignEntry, TimedEntry
from tidegate.catalog.errors import ConfigErrors
from tidegate.catalog.yaml_source import read_yaml
from tidegate.domain.dialect import Budget, Dialect, Sign, Timed

_FOLDER = files("tidegate.catalog") / "dialects"
_SUFFIX = ".yaml"


@lru_cache(maxsize=1)
def dialect_names() -> tuple[str, ...]:
    """The names of all built-in dialects, sorted."""
    found = (file.name for file in _FOLDER.iterdir())
    return tuple(sorted(name.removesuffix(_SUFFIX) for name in found if name.endswith(_SUFFIX)))


@lru_cache(maxsize=256)
def built_in_dialect(name: str) -> Dialect:
    """One of them; the name is one of `dialect_names`."""
    file = _FOLDER / f"{name}{_SUFFIX}"
    source = read_yaml(file.read_bytes(), file.name)
    if source.errors:
        raise ConfigErrors(source.errors)
    return dialect_of(DialectEntry.model_validate(source.root))


def dialect_of(entry: DialectEntry) -> Dialect:
    """Make a dialect of what is declared of it."""
    return Dialect(
        budgets=tuple(map(_budget, entry.budgets)),
        waits=tuple(map(_timed, entry.waits)),
        throttled=tuple(map(_sign, entry.throttled)),
        unless=tuple(map(_sign, entry.unless)),
        ietf=entry.ietf,
    )


def _budget(entry: BudgetEntry) -> Budget:
    return Budget(
        scope=entry.scope or "",
        scope_at=entry.scope_at or "",
        limit=entry.limit or "",
        remaining=entry.remaining or "",
        used=entry.used or "",
        used_of_limit=entry.used_of_limit or "",
        percent=tuple(entry.percent),
        reset=_timed(entry.reset) if entry.reset else None,
        cost=entry.cost or "",
        shared=entry.shared,
    )


def _timed(entry: TimedEntry) -> Timed:
    return Timed(entry.at, tuple(entry.form))


def _sign(entry: SignEntry) -> Sign:
    return Sign(
        status=tuple(entry.status),
        at=entry.at or "",
        equals=tuple(entry.equals),
        has=tuple(text.lower() for text in entry.has),
        wait_ms=entry.wait,
        scope=entry.scope or "",
        scope_at=entry.scope_at or "",
    )
