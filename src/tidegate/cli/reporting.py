"""`records …`: what privacy law asks to be kept, from what is declared and what was sent."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter
from cyclopts.validators import Number

from tidegate.cli.outcome import DONE, Refusal
from tidegate.cli.reading import open_state
from tidegate.cli.terminal import (
    GOOD,
    NAME,
    QUIET,
    WEAK,
    counted,
    json_out,
    moment,
    notice,
    say,
    table,
)

if TYPE_CHECKING:
    from tidegate.app.reporting import Gathered
    from tidegate.privacy.flowmap import FlowMap
    from tidegate.privacy.processing import Processing

records = App(name="records", help="Make the records of processing, from what was sent.")

_Client = Annotated[str | None, Parameter(metavar="CLIENT", help="Whose.")]
_To = Annotated[
    Path | None, Parameter(metavar="FILE", help="Write there; the ending says in which form.")
]
_Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON.")]


@records.command
def art30(
    *,
    client: _Client = None,
    processor: Annotated[
        bool,
        Parameter(
            negative="", help="The organisation's own record, of all clients: GDPR Art. 30(2)."
        ),
    ] = False,
    to: _To = None,
) -> int:
    """Make a record of processing activities: GDPR Art. 30(1) for one client, 30(2) for the organisation.

    Written to a `.html`, `.pdf` or `.json` file; without one, what is in it is summed up. It says what
    it lacks, and where to declare that.
    """
    if processor and client:
        raise Refusal("the organisation's record is of all clients", "leave `--client` out")
    from tidegate import __version__
    from tidegate.privacy.pages import page
    from tidegate.privacy.processing import missing_of_organisation

    gathered = _gathered(client, every=processor)
    organisation = gathered.declaration.organisation
    common = _common(gathered) | {"version": __version__, "organisation": organisation}
    if processor:
        missing = missing_of_organisation(organisation)
        context = common | {"processings": gathered.processings, "missing": missing}
        template = "processor.html"
    else:
        (one,) = gathered.processings
        missing = one.missing
        context = common | {name: getattr(one, name) for name in one.__slots__}
        template = "controller.html"
    if to is None:
        _sum_up(gathered.processings)
        for lack in missing:
            notice(("missing ", WEAK), f"{lack.what}: {lack.where}")
        return DONE
    if to.suffix == ".json":
        document = {
            "article": "30(2)" if processor else "30(1)",
            "revision": gathered.revision.number,
            "at": gathered.at,
            "organisation": asdict(organisation),
            "clients": [asdict(one) for one in gathered.processings],
            "missing": [asdict(one) for one in missing],
        }
        write(to, json_text(document))
    else:
        write_page(to, page(template, **context), (".html", ".pdf", ".json"))
    for lack in missing:
        notice(("missing ", WEAK), f"{lack.what}: {lack.where}")
    return DONE


@records.command(name="map")
def map_(*, client: _Client = None, to: _To = None) -> int:
    """Draw which data goes for which purpose to whom: for one client, or for all together.

    Written to a `.html`, `.pdf`, `.mmd` (Mermaid) or `.json` file; without one, Mermaid is printed.
    """
    from tidegate import __version__
    from tidegate.privacy.flowmap import as_json, as_mermaid, flow_map, picture
    from tidegate.privacy.pages import page

    gathered = _gathered(client, every=client is None)
    graph: FlowMap = flow_map(gathered.processings)
    if to is None:
        print(as_mermaid(graph), end="")
    elif to.suffix == ".json":
        write(to, json_text(as_json(graph)))
    elif to.suffix in {".mmd", ".mermaid"}:
        write(to, as_mermaid(graph))
    else:
        context = _common(gathered) | {
            "version": __version__,
            "picture": picture(graph),
            "scope": _scope(gathered, client),
        }
        write_page(to, page("map.html", **context), (".html", ".pdf", ".mmd", ".json"))
    return DONE


@records.command
def manifest(*, client: _Client = None, to: _To = None) -> int:
    """Write what is processed for a client as a fideslang manifest, in YAML."""
    from tidegate.privacy.manifest import manifest as written

    gathered = _gathered(client)
    text = written(gathered.declaration.organisation, gathered.processings[0])
    if to is None:
        print(text, end="")
    else:
        write(to, text)
    return DONE


@records.command
def sent(
    *,
    client: _Client = None,
    provider: Annotated[
        str | None, Parameter(metavar="PROVIDER", help="Only what went to this one.")
    ] = None,
    as_csv: Annotated[bool, Parameter(name="--csv", negative="", help="Print CSV.")] = False,
    as_json: _Json = False,
) -> int:
    """List which fields went to whom, how often, and when first and last. No value is kept of any."""
    with open_state() as state:
        found = [
            one for one in state.store.ledger.flows(client) if provider in {None, one.provider}
        ]
    if as_json:
        json_out([asdict(one) for one in found])
        return DONE
    if as_csv:
        from tidegate.privacy.sheets import csv_of

        names = list(found[0].__slots__) if found else ["client"]
        print(csv_of(names, ([getattr(one, n) for n in names] for one in found)), end="")
        return DONE
    table(
        (
            *("client", "provider", "operation", "field", "category", "done", "purpose"),
            *(("calls", "right"), "last"),
        ),
        [
            (
                one.client,
                (one.provider, NAME),
                one.operation,
                one.at or ("not listed", WEAK),
                one.category or "-",
                one.action,
                one.purpose or ("-", WEAK),
                f"{one.count:,}",
                (moment(one.last), QUIET),
            )
            for one in found
        ],
    )
    return DONE


@records.command
def unsent(
    *,
    days: Annotated[
        int, Parameter(validator=Number(gte=1, lte=3_650), help="For how long nothing went.")
    ] = 90,
    client: _Client = None,
    as_json: _Json = False,
) -> int:
    """List what policies let go and nobody sent: rules to take out, so that less may go."""
    from tidegate.app.reporting import gather_unsent

    with open_state() as state:
        found = gather_unsent(state, client, days)
    if as_json:
        json_out({"days": days} | asdict(found))
        return DONE
    table(
        ("policy", "field", "category", "done", "purpose", "last sent"),
        [
            (
                (one.policy, NAME),
                one.at,
                one.category or "-",
                one.action,
                one.purpose,
                (moment(one.last), QUIET) if one.last else ("never", WEAK),
            )
            for one in found.fields
        ],
    )
    if found.fields:
        rules = counted(len(found.fields), "rule")
        say((f"{rules} let go what nobody sent for {days} days: take them out", GOOD))
    if found.young:
        say((f"{counted(found.young, 'rule')} do not stand that long yet", QUIET))
    return DONE


def _gathered(client: str | None, *, every: bool = False) -> Gathered:
    from tidegate.app.reporting import gather

    with open_state() as state:
        found = gather(state, client)
    if not every and len(found.processings) != 1:
        names = ", ".join(f"`{one.client.name}`" for one in found.processings[:20])
        raise Refusal("a record is of one client", f"say by `--client` which: {names or 'none'}")
    return found


def _common(gathered: Gathered) -> dict[str, Any]:
    from tidegate.domain.category import is_special

    names = {
        category
        for one in gathered.processings
        for activity in one.activities
        for category in activity.categories
    }
    return {
        "made_at": gathered.at,
        "revision": gathered.revision.number,
        "special_names": {name for name in names if is_special(name)},
    }


def _scope(gathered: Gathered, client: str | None) -> str:
    if client is None:
        return "all clients"
    one = gathered.processings[0].client
    return one.party.legal_name or one.title or one.name


def _sum_up(processings: tuple[Processing, ...]) -> None:
    table(
        ("client", "purpose", "recipient", "data that went", ("calls", "right"), "agreement"),
        [
            (
                one.client.name,
                activity.purpose,
                (recipient.provider, NAME),
                ", ".join(recipient.sent) or ("nothing so far", QUIET),
                f"{recipient.calls:,}",
                ", ".join(a.name for a in recipient.agreements)
                or (("none", WEAK) if recipient.has_personal else "-"),
            )
            for one in processings
            for activity in one.activities
            for recipient in activity.recipients
        ],
    )


def write_page(to: Path, html: str, endings: tuple[str, ...]) -> None:
    """Write a page as the file's ending says."""
    if to.suffix == ".pdf":
        from tidegate.privacy.pages import pdf

        write(to, pdf(html))
    elif to.suffix in {".html", ".htm"}:
        write(to, html)
    else:
        raise Refusal(f"`{to.name}` has no ending that says its form", f"{', '.join(endings)}")


def write(to: Path, content: str | bytes) -> None:
    """Write a file, and say so."""
    try:
        to.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise Refusal(f"cannot write `{to}`: {error.strerror}") from None
    notice(("wrote ", GOOD), str(to))


def json_text(document: object) -> str:
    """Write JSON for a file."""
    return json.dumps(document, indent=2, ensure_ascii=False, default=_as_json) + "\n"


def _as_json(value: object) -> str:
    if isinstance(value, date | datetime):
        return value.isoformat()
    raise TypeError(f"a {type(value).__name__} has no JSON form")
