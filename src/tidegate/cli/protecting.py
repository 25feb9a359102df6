"""`protect …`: what of requests goes to providers, and in which form."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from tidegate.cli.outcome import DONE, REFUSED, Refusal
from tidegate.cli.reading import DECLARATION, state_if_any, what_is_declared
from tidegate.cli.terminal import (
    BAD,
    GOOD,
    NAME,
    QUIET,
    STRONG,
    WEAK,
    counted,
    json_out,
    notice,
    say,
    table,
)

if TYPE_CHECKING:
    from tidegate.app.protecting import Protected
    from tidegate.domain.declaration import Declaration
    from tidegate.engine.protect import Sample, SentRequest, TriedField, TriedSample

protect = App(name="protect", help="Show what of requests goes to providers, and in which form.")

protect.command("tidegate.cli.protection_keys:keys", name="keys")
protect.command("tidegate.cli.suggesting:suggest", name="suggest")
protect.command("tidegate.cli.suggesting:shapes", name="shapes")

_Path = Annotated[Path, Parameter(help="tidegate.yaml, or the folder that holds it.")]
_Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON.")]
_SHOWN_MAX = 60


@protect.command(name="try")
def try_(
    sample: Annotated[
        str,
        Parameter(
            help="A file with a request: `METHOD URL`, header, empty line, body. `-`: stdin.",
            allow_leading_hyphen=True,
        ),
    ],
    path: _Path = DECLARATION,
    /,
    *,
    operation: Annotated[
        str | None,
        Parameter(
            metavar="PROVIDER:OPERATION",
            help="The file is a body alone, of this operation.",
        ),
    ] = None,
    media_type: Annotated[
        str, Parameter(name="--type", metavar="TYPE", help="With `--operation`: the body's type.")
    ] = "application/json",
    as_json: _Json = False,
) -> int:
    """Show what the provider would get of a request, field by field, without sending it.

    The engine's own code decides, on the declaration here or else on the revision in force. The exit
    code is 1 when the call would be refused. What is shown holds the sample's values.
    """
    from tidegate.app.protecting import tried

    declaration = what_is_declared(path)
    found = tried(declaration, _sample(declaration, _read(sample), operation, media_type))
    if as_json:
        json_out(_as_json(found))
    else:
        _show(found)
    return DONE if found.outcome == "ok" else REFUSED


@protect.command(name="list")
def list_(
    provider: Annotated[str | None, Parameter(help="Only this provider's.")] = None,
    path: _Path = DECLARATION,
    /,
    *,
    everything: Annotated[
        bool, Parameter(name="--all", negative="", help="Also operations that no grant reaches.")
    ] = False,
    as_json: _Json = False,
) -> int:
    """List operations with their policies. What has none is weak: all that a call carries goes out.

    `shapes learned`: calls were seen, of which `tidegate protect suggest` drafts a policy.
    """
    from tidegate.app.protecting import protected

    declaration = what_is_declared(path)
    if provider is not None and provider not in {one.name for one in declaration.providers}:
        raise Refusal(f"there is no provider `{provider}`", "`tidegate providers` lists them")
    rows = [
        one
        for one in protected(declaration, provider)
        if everything or one.granted or one.policy is not None
    ]
    seen = _seen()
    if as_json:
        json_out([_row_as_json(one, seen) for one in rows])
        return DONE
    columns = ("operation", "policy", "purpose", "sends", "other fields")
    table(columns, (_row(one, seen) for one in rows))
    open_ones = sum(one.policy is None and not _refuses(one) for one in rows)
    if open_ones:
        hint = "`tidegate protect suggest` drafts them"
        notice(("weak ", WEAK), f"{counted(open_ones, 'operation')} without a policy; {hint}")
    return DONE


def _seen() -> set[tuple[str, str]]:
    """The operations of whose calls shapes were learned."""
    state = state_if_any()
    if state is None:
        return set()
    with state:
        return state.store.shapes.operations()


def _read(name: str) -> bytes:
    if name == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise Refusal(f"`{name}` cannot be read: {error.strerror}") from None


def _sample(
    declaration: Declaration, content: bytes, operation: str | None, media_type: str
) -> Sample:
    from tidegate.app.protecting import NotASampleError, read_sample, sample_of

    try:
        if operation is None:
            return read_sample(declaration, content)
        return sample_of(declaration, operation, content.rstrip(b"\n"), media_type)
    except NotASampleError as wrong:
        raise Refusal(str(wrong), wrong.hint) from None


def _show(found: TriedSample) -> None:
    if found.fields:
        table(("field", "the sample has", "the provider gets", "by"), map(_field, found.fields))
        say()
    if found.after is not None and found.policy is not None:
        _show_request(found, found.after)
        say()
    problem = found.problem
    if problem is not None:
        say(("refused", BAD), f" with {problem.status} ", (problem.code, STRONG))
        say((found.detail or "", QUIET))
    elif found.policy is None:
        say(("weak", WEAK), ": no policy is for ", (_name(found), NAME), ", and all of it goes out")
    else:
        say(("goes out", GOOD), f" by {found.policy}, for {found.purpose}")
    if found.enforce_from is not None:
        day = datetime.fromtimestamp(found.enforce_from, UTC)
        say(("report", WEAK), f": until {day:%Y-%m-%d} calls go as they are, and this is recorded")


def _show_request(found: TriedSample, sent: SentRequest) -> None:
    query = "" if sent.query is None else f"?{sent.query}"
    say((f"{_name(found)}  {sent.path}{query}", STRONG))
    if sent.body:
        say(sent.body.decode("utf-8", "replace"))


def _name(found: TriedSample) -> str:
    return f"{found.provider}:{found.operation}"


def _field(one: TriedField) -> tuple[str | tuple[str, str], ...]:
    if one.refused is not None:
        after = ("refused", BAD)
    elif one.after is None:
        after = ("nothing", WEAK)
    else:
        after = (_short(one.after), GOOD if one.after != one.before else QUIET)
    kind = f" ({one.category})" if one.category else ""
    by = f"{one.do}: {one.rule}{kind}" if one.rule else f"{one.do}: no rule"
    return (one.place, NAME), _short(one.before), after, (by, QUIET)


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}…"


def _as_json(found: TriedSample) -> dict[str, object]:
    written = asdict(found)
    for name in ("before", "after"):
        if written[name] is not None:
            written[name]["body"] = written[name]["body"].decode("utf-8", "replace")
    return written


def _row(one: Protected, seen: set[tuple[str, str]]) -> tuple[str | tuple[str, str], ...]:
    name = (f"{one.provider.name}:{one.operation.id}", NAME)
    if one.policy is None:
        none = "none, shapes learned" if _is_seen(one, seen) else "none"
        told = ("refused", GOOD) if _refuses(one) else (none, WEAK)
        return name, told, "", "", ""
    until = one.policy.report_until
    mode = f" (reports until {until})" if until else ""
    sends = ", ".join(one.policy.sends)
    return name, f"{one.policy.name}{mode}", one.policy.purpose, sends, one.policy.unknown_fields


def _refuses(one: Protected) -> bool:
    return one.provider.unprotected == "refuse"


def _is_seen(one: Protected, seen: set[tuple[str, str]]) -> bool:
    return (one.provider.name, one.operation.id) in seen


def _row_as_json(one: Protected, seen: set[tuple[str, str]]) -> dict[str, object]:
    policy = one.policy
    return {
        "provider": one.provider.name,
        "operation": one.operation.id,
        "granted": one.granted,
        "policy": policy.name if policy else None,
        "purpose": policy.purpose if policy else None,
        "sends": policy.sends if policy else None,
        "unknown_fields": policy.unknown_fields if policy else None,
        "report_until": str(policy.report_until) if policy and policy.report_until else None,
        "weak": policy is None and not _refuses(one),
        "shapes": _is_seen(one, seen),
    }
