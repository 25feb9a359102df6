"""`check`, `providers`, `operations`, `presets` and `schema`: what is declared."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from tidegate.cli.outcome import DONE, REFUSED, Refusal
from tidegate.cli.reading import (
    DECLARATION,
    declared_or_in_force,
    read_declaration,
    state_if_any,
)
from tidegate.cli.terminal import GOOD, NAME, QUIET, WEAK, counted, json_out, notice, say, table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tidegate.catalog import Weakness
    from tidegate.domain.declaration import Declaration, Provider
    from tidegate.domain.operation import Operation

_Path = Annotated[Path, Parameter(help="tidegate.yaml, or the folder that holds it.")]
_Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON.")]


def check(path: _Path = DECLARATION, /, *, as_json: _Json = False) -> int:
    """Say what is wrong in a declaration, all at once, and what in it is weak.

    A weakness is no error: it is something allowed that lowers the guard, such as a private address
    range. Where this installation has a store, agreements are held against what policies let go. The
    exit code is 1 when something is wrong.
    """
    from tidegate.catalog import ConfigErrors, load_settings, weaknesses

    try:
        declaration = read_declaration(path)
        settings = load_settings(path)
    except ConfigErrors as wrong:
        if not as_json:
            raise
        fields = ("file", "line", "column", "message", "hint")
        errors = [{name: getattr(error, name) for name in fields} for error in wrong.errors]
        json_out({"ok": False, "errors": errors, "weaknesses": []})
        return REFUSED
    weak = [*weaknesses(declaration), *settings.weaknesses(), *_agreed(declaration)]
    if as_json:
        found = [{"where": weakness.where, "what": weakness.what} for weakness in weak]
        json_out({"ok": True, "errors": [], "weaknesses": found})
        return DONE
    say(("ok", GOOD), f"  {_sizes(declaration)}")
    for weakness in weak:
        say(("weak", WEAK), f"  {weakness.where}: {weakness.what}")
    return DONE


def providers(path: _Path = DECLARATION, /, *, as_json: _Json = False) -> int:
    """List the declared providers: where they are, how they authenticate, what they can do."""
    declaration = declared_or_in_force(path)
    known = declaration.providers if declaration else ()
    if as_json:
        json_out([_provider_as_json(provider) for provider in known])
        return DONE
    rows = [
        (
            (provider.name, NAME),
            ", ".join(provider.origins),
            _scheme(provider),
            f"{len(provider.operations):,}",
            provider.preset or "",
        )
        for provider in known
    ]
    table(("provider", "origins", "credential", ("operations", "right"), "preset"), rows)
    return DONE


def operations(
    provider: Annotated[
        str, Parameter(help="A provider's name in the declaration, or a preset's.")
    ],
    path: _Path = DECLARATION,
    /,
    *,
    grep: Annotated[
        str,
        Parameter(
            metavar="REGEX",
            help="Only where this regular expression matches the line, in any case.",
        ),
    ] = "",
    as_json: _Json = False,
) -> int:
    """List a provider's operations, as grants name them.

    A grant names an operation by the first column, or by method and path; both may have `*`.
    """
    known = _provider(provider, path)
    wanted = _filter(grep)
    found = [(one, checked) for one, checked in _with_checks(known) if wanted(one)]
    if as_json:
        fields = ("id", "method", "path", "summary", "deprecated")
        json_out(
            [
                {name: getattr(one, name) for name in fields} | {"checked": checked}
                for one, checked in found
            ]
        )
        return DONE
    if known.checking is None:
        table(("operation", "method", "path", "summary"), (_operation_row(one) for one, _ in found))
    else:
        columns = ("operation", "method", "path", "checked", "summary")
        table(columns, (_operation_row(one, checked or "no") for one, checked in found))
    notice((counted(len(found), "operation"), QUIET))
    return DONE if found else REFUSED


def presets(*, as_json: _Json = False) -> int:
    """List the providers whose facts are built in.

    In a declaration `providers: {stripe: {preset: stripe}}` is all that such a provider needs.
    """
    from tidegate.catalog import presets as built_in

    known = sorted(built_in().items())
    if as_json:
        json_out([{"name": name, "title": preset.title} for name, preset in known])
        return DONE
    table(("preset", "provider"), [((name, NAME), preset.title) for name, preset in known])
    return DONE


def schema() -> int:
    """Print the JSON Schema of `tidegate.yaml`, for editors.

    With `# yaml-language-server: $schema=tidegate.schema.json` as a file's first line, most editors
    complete and check it as you type.
    """
    from tidegate.catalog import json_schema

    json_out(json_schema())
    return DONE


def _agreed(declaration: Declaration) -> list[Weakness]:
    from tidegate.app.agreeing import agreement_weaknesses

    state = state_if_any()
    if state is None:
        return []
    with state:
        return agreement_weaknesses(state, declaration)


def _sizes(declaration: Declaration) -> str:
    known = sum(len(provider.operations) for provider in declaration.providers)
    return ", ".join(
        (
            counted(len(declaration.clients), "client"),
            counted(len(declaration.consumers), "consumer"),
            f"{counted(len(declaration.providers), 'provider')} ({counted(known, 'operation')})",
            counted(len(declaration.grants), "grant"),
            *([counted(len(declaration.denials), "denial")] if declaration.denials else []),
            *([_policies(declaration)] if declaration.protection else []),
        )
    )


def _policies(declaration: Declaration) -> str:
    number = len(declaration.protection)
    return counted(number, "policy") if number == 1 else f"{number} policies"


def _provider_as_json(provider: Provider) -> dict[str, object]:
    return {
        "name": provider.name,
        "title": provider.title,
        "preset": provider.preset,
        "origins": provider.origins,
        "variables": provider.variables,
        "credential": _kinds(provider),
        "operations": len(provider.operations),
    }


def _scheme(provider: Provider) -> str:
    return " + ".join(_kinds(provider)) or "none"


def _kinds(provider: Provider) -> list[str]:
    return [part.kind for part in (*provider.attach, provider.sign) if part is not None]


def _with_checks(provider: Provider) -> Iterator[tuple[Operation, str | None]]:
    """Each operation with what of its calls is checked; None where nothing is."""
    checking = provider.checking
    for number, operation in enumerate(provider.operations):
        rules = checking.of_operation(number) if checking else None
        yield operation, rules.in_words if rules else None


def _provider(name: str, path: Path) -> Provider:
    """Find the provider in what is declared; a preset need not be declared to be looked at."""
    from tidegate.catalog import presets as built_in

    declared = declared_or_in_force(path)
    for provider in declared.providers if declared else ():
        if provider.name == name:
            return provider
    if name in built_in():
        return built_in()[name].provider
    raise Refusal(
        f"there is no provider `{name}`",
        "`tidegate providers` lists the declared ones, `tidegate presets` those built in",
    )


def _filter(pattern: str) -> Callable[[Operation], bool]:
    try:
        expression = re.compile(pattern, re.IGNORECASE)
    except re.error as error:
        raise Refusal(f"`{pattern}` is no regular expression: {error.msg}") from None
    return lambda one: bool(expression.search(f"{one.id} {one.method} {one.path} {one.summary}"))


def _operation_row(one: Operation, *further: str) -> tuple[str | tuple[str, str], ...]:
    summary = f"{one.summary} (deprecated)".strip() if one.deprecated else one.summary
    return (one.id, NAME), one.method, one.path, *further, (summary, QUIET)
