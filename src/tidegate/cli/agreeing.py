"""`agreements`: what was agreed with providers about personal data, and what lifts that for a while."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import App, Parameter

from tidegate.cli.operators import As, operator
from tidegate.cli.outcome import DONE, Refusal
from tidegate.cli.reading import open_state, ready_vault, revision_in_force
from tidegate.cli.terminal import BAD, GOOD, NAME, QUIET, STRONG, WEAK, json_out, moment, say, table

if TYPE_CHECKING:
    from tidegate.domain.agreement import Agreement, Override

agreements = App(name="agreements", help="Record what lets personal data go to a provider.")
override = App(name="override", help="Lift an agreement's gate for some hours, by two people.")
agreements.command(override)

_SOON_DAYS: Final = 60
_Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON.")]
_Named = Annotated[str, Parameter(name="NAME", help="The agreement's name.")]
_Override = Annotated[str, Parameter(name="OVERRIDE", help="Its id: `ovr_…`.")]


@agreements.command
def add(
    file: Annotated[Path, Parameter(name="FILE", help="The agreement, as YAML.")],
    /,
    *,
    as_: As = None,
) -> int:
    """Record an agreement. The signed document that the file names is hashed, and not kept.

    A running gateway lets go what it covers within a second, and holds it back from the very instant
    at which it ends.
    """
    from tidegate.privacy import read_agreement

    with open_state() as state:
        agreement = read_agreement(file, revision_in_force(state).declaration)
        ready_vault(state)
        state.agreements.add(operator(as_), agreement)
    say(("recorded ", GOOD), (agreement.name, NAME), f", document sha256:{agreement.document}")
    return DONE


@agreements.command(name="list")
def list_agreements(*, as_json: _Json = False) -> int:
    """List the agreements and the overrides, those that have ended too."""
    with open_state() as state:
        register = state.agreements.register()
    if as_json:
        json_out(
            {
                "agreements": [_agreement_as_json(one) for one in register.agreements],
                "overrides": [_override_as_json(one) for one in register.overrides],
            }
        )
        return DONE
    now = datetime.now(UTC)
    columns = (
        "agreement",
        "kind",
        "provider",
        "clients",
        "categories",
        "purposes",
        "state",
        "until",
    )
    table(columns, [_agreement_row(one, now) for one in register.agreements])
    if register.overrides:
        say("")
        columns = ("override", "provider", "client", "categories", "purposes", "state", "by")
        table(columns, [_override_row(one, now) for one in register.overrides])
    return DONE


@agreements.command
def show(name: _Named, /, *, as_json: _Json = False) -> int:
    """Show one agreement in full, and every act about it."""
    with open_state() as state:
        known = {one.name: one for one in state.agreements.register().agreements}
        history = state.agreements.history(name)
    found = known.get(name)
    if found is None:
        from tidegate.catalog.errors import did_you_mean

        raise Refusal(f"there is no agreement `{name}`", did_you_mean(name, known))
    if as_json:
        acts = [
            {"seq": act.seq, "at": act.at, "operator": act.operator, "act": act.act}
            for act in history
        ]
        json_out({**_agreement_as_json(found), "acts": acts})
        return DONE
    say((found.name, STRONG), f", {found.kind} with `{found.provider}` ({found.role})")
    for what, words in _facts(found):
        say((f"  {what:<15}", QUIET), words)
    for act in history:
        say((f"  {moment(act.at)}  ", QUIET), f"{act.act} by {act.operator}")
    return DONE


@agreements.command
def end(
    name: _Named,
    /,
    *,
    at: Annotated[
        str,
        Parameter(metavar="WHEN", help="When: a date, or a time with its zone; now, if not given."),
    ] = "",
    as_: As = None,
) -> int:
    """End an agreement, now or on a day before its own end. It stays on record."""
    with open_state() as state:
        state.agreements.end(operator(as_), name, _when(at) if at else None)
    say(("ended ", GOOD), (name, NAME), f" {at}".rstrip())
    return DONE


@agreements.command
def warnings(*, as_json: _Json = False) -> int:
    """Name agreements that end within 60 days or did in the last 30, and old reviews of subprocessors."""
    with open_state() as state:
        found = state.agreements.warnings()
    if as_json:
        json_out(
            [{"agreement": one.agreement.name, "days": one.days, "what": one.what} for one in found]
        )
        return DONE
    for one in found:
        style = BAD if one.days is not None and one.days <= 7 else WEAK  # noqa: PLR2004
        say((one.agreement.name, style), f"  {one.what}")
    if not found:
        say("nothing to warn of")
    return DONE


@override.command
def ask(
    provider: Annotated[str, Parameter(help="The provider that the data goes to.")],
    /,
    *,
    client: Annotated[str, Parameter(metavar="CLIENT", help="Whose data it is.")],
    category: Annotated[
        tuple[str, ...],
        Parameter(negative="", metavar="CATEGORY", help="Which data. May be given again."),
    ],
    purpose: Annotated[
        tuple[str, ...],
        Parameter(negative="", metavar="PURPOSE", help="What for. May be given again."),
    ],
    reason: Annotated[str, Parameter(metavar="TEXT", help="Why, for whoever reads the record.")],
    hours: Annotated[int, Parameter(help="How long from its approval; 72 at most.")] = 24,
    as_: As = None,
) -> int:
    """Ask for leave to send without an agreement. It begins when somebody else approves it."""
    from tidegate.privacy import require_declared

    with open_state() as state:
        require_declared(revision_in_force(state).declaration, provider, client)
        ready_vault(state)
        made = state.agreements.ask(
            operator(as_),
            client=client,
            provider=provider,
            categories=category,
            purposes=purpose,
            hours=hours,
            reason=reason,
        )
    say(("asked ", GOOD), (made.id, NAME), f"; somebody else approves it by {moment(made.lapses)}:")
    say(f"  tidegate agreements override approve {made.id}")
    return DONE


@override.command
def approve(which: _Override, /, *, as_: As = None) -> int:
    """Let an override begin. Whoever asked for it cannot."""
    with open_state() as state:
        made = state.agreements.approve(operator(as_), which)
    say(("approved ", GOOD), (made.id, NAME), f" until {moment(made.ends)}")
    return DONE


@override.command
def revoke(which: _Override, /, *, as_: As = None) -> int:
    """End an override, or a question for one, now."""
    with open_state() as state:
        made = state.agreements.revoke(operator(as_), which)
    say(("revoked ", GOOD), (made.id, NAME))
    return DONE


def _when(text: str) -> datetime:
    try:
        if "T" not in text:
            return datetime.combine(date.fromisoformat(text), time.min, UTC)
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise Refusal(f"`{text}` is no time", "write `2027-01-31` or `2027-01-31T12:00:00Z`")
    return at


def _facts(one: Agreement) -> list[tuple[str, str]]:
    transfer = one.transfer
    tool = f"{transfer.tool} {transfer.assessment}".strip() if transfer else ""
    employed = "; ".join(f"{s.name} ({s.region}, reviewed {s.reviewed})" for s in one.subprocessors)
    found = (
        ("parties", ", ".join(one.parties)),
        ("clients", _clients(one)),
        ("categories", ", ".join(one.categories)),
        ("subjects", ", ".join(one.subjects)),
        ("purposes", ", ".join(one.purposes)),
        ("regions", ", ".join(one.regions)),
        ("transfer", tool),
        ("subprocessors", employed),
        ("retention", one.retention),
        ("breach contact", one.breach_contact),
        ("document", f"sha256:{one.document}"),
        ("in force", f"{moment(one.starts)} to {moment(one.ends)}"),
    )
    return [(what, words) for what, words in found if words]


def _clients(one: Agreement) -> str:
    return "all" if "*" in one.clients else ", ".join(one.clients)


def _agreement_row(one: Agreement, now: datetime) -> tuple[str | tuple[str, str], ...]:
    return (
        (one.name, NAME),
        one.kind,
        one.provider,
        _clients(one),
        ", ".join(one.categories),
        ", ".join(one.purposes),
        _state(one, now),
        moment(one.ends),
    )


def _state(one: Agreement, now: datetime) -> tuple[str, str]:
    if one.has_ended(now):
        return "ended", BAD
    if now < one.starts:
        return "to come", WEAK
    if one.ends is not None and (one.ends - now).days < _SOON_DAYS:
        return "ends soon", WEAK
    return "in force", GOOD


def _override_row(one: Override, now: datetime) -> tuple[str | tuple[str, str], ...]:
    people = f"{one.asked_by}, {one.approved_by}" if one.approved_by else one.asked_by
    return (
        (one.id, NAME),
        one.provider,
        one.client,
        ", ".join(one.categories),
        ", ".join(one.purposes),
        _override_state(one, now),
        people,
    )


def _override_state(one: Override, now: datetime) -> tuple[str, str]:
    if one.is_in_force(now):
        return f"until {moment(one.ends)}", WEAK
    if one.approved_at is None and one.revoked_at is None and now < one.lapses:
        return "not approved", QUIET
    return ("revoked" if one.revoked_at else "ended"), QUIET


def _agreement_as_json(one: Agreement) -> dict[str, object]:
    told = asdict(one)
    for employed in told["subprocessors"]:
        employed["reviewed"] = employed["reviewed"].isoformat()
    return told


def _override_as_json(one: Override) -> dict[str, object]:
    return {**asdict(one), "ends": one.ends}
