"""`import`: find credentials that are kept in plaintext, and seal them as connections.

It shows the names of variables and where they stand, and never a value or a part of one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from tidegate.cli.outcome import DONE, REFUSED, Refusal
from tidegate.cli.reading import open_state, ready_vault
from tidegate.cli.terminal import (
    BAD,
    GOOD,
    NAME,
    QUIET,
    WEAK,
    json_out,
    listed,
    notice,
    say,
    say_below,
    table,
)
from tidegate.domain.connection import DEFAULT_CONNECTION

if TYPE_CHECKING:
    from tidegate.app import Services
    from tidegate.credentials.importing import Finding, Known, Note, Offer, Reading
    from tidegate.domain.declaration import Declaration

_INDENT: Final = 4


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of an offer: `would_connect`, `connected` or `skipped`, and why."""

    offer: Offer
    became: str
    reason: str = ""
    version: int | None = None


def import_(
    source: Annotated[
        Path,
        Parameter(
            help="A `.env`, compose or JSON file; `-` reads `.env` or JSON from a pipe.",
            allow_leading_hyphen=True,
        ),
    ],
    /,
    *,
    client: Annotated[str, Parameter(metavar="CLIENT", help="Whose accounts they are.")],
    name: Annotated[
        str, Parameter(metavar="NAME", help="What the connections are called.")
    ] = DEFAULT_CONNECTION,
    yes: Annotated[
        bool, Parameter(negative="", help="Connect what fits; without it, nothing changes.")
    ] = False,
    as_json: Annotated[bool, Parameter(name="--json", negative="", help="Print JSON.")] = False,
) -> int:
    """Find credentials that a file keeps in plaintext, and offer connections made of them.

    Known are a `.env` file, the environment of a compose file with its `env_file`, and JSON: a plain
    object, or what 1Password, Doppler and Infisical export. A variable is recognised by its name and
    by the form of its value; no value is ever shown. With `--yes`, what fits the declaration in force
    is sealed; the exit code is 1 when something else had to be skipped. A connection that exists is
    left as it is.
    """
    from tidegate.credentials.importing import Wish, known_providers, offers_for, recognise
    from tidegate.domain.declaration import Declaration

    reading = _read(source)
    with open_state() as state:
        revision = state.store.revisions.current()
        declaration = revision.declaration if revision else Declaration()
        known = known_providers(declaration)
        findings = recognise(reading.variables, known)
        wish = Wish(declaration, state.store.connections.all(), client, name)
        offers = offers_for(findings, known, wish)
        outcomes = _connect(state, offers, wish.declaration, client, name) if yes else _plan(offers)
    if as_json:
        json_out(_as_json(findings, outcomes, reading.notes, known))
    else:
        _show(findings, outcomes, reading.notes, known)
        _advise(outcomes, is_in_force=revision is not None)
    return REFUSED if yes and any(one.became == "skipped" for one in outcomes) else DONE


def _read(source: Path) -> Reading:
    from tidegate.credentials.importing import STANDARD_INPUT, read_data, read_source
    from tidegate.credentials.importing.variables import SOURCE_BYTES_MAX

    if str(source) != STANDARD_INPUT:
        return read_source(source)
    # It is None where whoever started us closed it.
    if sys.stdin is None or sys.stdin.isatty():
        raise Refusal("nothing is piped in", "name a file, or pipe an export: `doppler … | …`")
    return read_data(sys.stdin.buffer.read(SOURCE_BYTES_MAX + 1), "standard input", None)


def _plan(offers: Iterable[Offer]) -> list[_Outcome]:
    return [
        _Outcome(one, "skipped" if one.refused else "would_connect", one.refused) for one in offers
    ]


def _connect(
    state: Services, offers: list[Offer], declaration: Declaration, client: str, name: str
) -> list[_Outcome]:
    """Seal each offer that fits; what one is refused for does not stop the next."""
    from tidegate.credentials import CredentialRefused
    from tidegate.store import StoreConflict

    outcomes: list[_Outcome] = []
    if any(not one.refused for one in offers):
        ready_vault(state)
    for one in offers:
        if one.refused or one.provider is None:
            outcomes.append(_Outcome(one, "skipped", one.refused))
            continue
        try:
            made = state.connections.connect(
                declaration, one.provider, client, name, one.values, one.variables
            )
        except (CredentialRefused, StoreConflict) as refused:
            outcomes.append(_Outcome(one, "skipped", str(refused)))
        else:
            outcomes.append(_Outcome(one, "connected", version=made.version))
    return outcomes


def _show(
    findings: list[Finding], outcomes: list[_Outcome], notes: list[Note], known: Known
) -> None:
    for note in notes:
        notice(("not read ", WEAK), f"{note.file}:{note.line}: {note.message}")
    rows = [
        (
            (one.variable.shown_name, NAME),
            one.variable.place,
            _recognised(one, known),
            _preset_of(one) or "-",
            _becomes(one),
        )
        for one in findings
    ]
    table(("variable", "where", "recognised as", "preset", "is for"), rows)
    for one in outcomes:
        _show_outcome(one)


def _show_outcome(outcome: _Outcome) -> None:
    offer = outcome.offer
    styles = {"connected": GOOD, "would_connect": NAME, "skipped": WEAK}
    say((f"{outcome.became.replace('_', ' ')} ", styles[outcome.became]), _named(offer))
    if outcome.became != "skipped":
        made = f"as version {outcome.version}; " if outcome.version else ""
        say_below(
            (f"{made}the credential leaves only for {', '.join(offer.leaves_for)}", QUIET),
            indent=_INDENT,
        )
        return
    say_below(outcome.reason, indent=_INDENT)
    if offer.write:
        say_below(("Write in tidegate.yaml:", QUIET), indent=_INDENT)
        for line in offer.write:
            say_below(line, indent=_INDENT * 2)


def _named(offer: Offer) -> str:
    parts = dict.fromkeys(
        one.variable.shown_name for one in offer.findings if one.state == "usable"
    )
    declared = f" as provider `{offer.provider}`" if offer.provider else ""
    return f"{offer.title}{declared}, from {listed(list(parts))}"


def _advise(outcomes: list[_Outcome], *, is_in_force: bool) -> None:
    connected = [one for one in outcomes if one.became == "connected"]
    if not is_in_force:
        notice(("note ", WEAK), "nothing is applied yet: `tidegate apply` stores the declaration")
    if any(one.became == "would_connect" for one in outcomes):
        notice(("Nothing was changed: `--yes` connects what fits.", QUIET))
    if connected:
        places = [
            f"{finding.variable.shown_name} ({finding.variable.place})"
            for one in connected
            for finding in one.offer.findings
            if finding.state == "usable" and not finding.is_address
        ]
        notice(("now ", BAD), "remove these from the source: ", ", ".join(places))
        notice(
            ("then ", BAD),
            "rotate each at its provider and `tidegate connect` the new one: what was kept in "
            "plaintext is in backups, histories and logs.",
        )


def _recognised(finding: Finding, known: Known) -> str:
    from tidegate.credentials.importing import title_of

    title = title_of(finding.provider, known) if finding.provider else ""
    what = finding.form or title
    return f"{what} (by {' and '.join(finding.by)})"


def _becomes(finding: Finding) -> str:
    part = f"{finding.provider} {finding.part}" if finding.provider else ""
    if finding.state == "usable":
        return part
    return f"{part}: {finding.reason}" if part else finding.reason


def _preset_of(finding: Finding) -> str | None:
    from tidegate.catalog import presets

    return finding.provider if finding.provider in presets() else None


def _as_json(
    findings: list[Finding], outcomes: list[_Outcome], notes: list[Note], known: Known
) -> dict[str, object]:
    from tidegate.credentials.importing import title_of

    return {
        "findings": [
            {
                "variable": one.variable.shown_name,
                "file": one.variable.file,
                "line": one.variable.line,
                "provider": title_of(one.provider, known) if one.provider else None,
                "preset": _preset_of(one),
                "part": one.part,
                "recognised_by": one.by,
                "form": one.form,
                "state": one.state,
                "reason": one.reason,
            }
            for one in findings
        ],
        "connections": [
            {
                "preset": one.offer.preset,
                "provider": one.offer.provider,
                "origins": one.offer.leaves_for,
                "outcome": one.became,
                "version": one.version,
                "reason": one.reason,
                "write": "\n".join(one.offer.write),
            }
            for one in outcomes
        ],
        "not_read": [{"file": one.file, "line": one.line, "message": one.message} for one in notes],
    }
