"""`subject …`: what people in the data ask for: what was sent about them, and to be forgotten.

Whom it is about is best not on the command line, which every process of the machine can read: give the kind
alone, and the identifier is asked for or read from standard input.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import App, Parameter

from tidegate.cli.operators import As, operator
from tidegate.cli.outcome import DONE, REFUSED, Refusal
from tidegate.cli.reading import open_state, revision_in_force
from tidegate.cli.terminal import (
    BAD,
    GOOD,
    NAME,
    QUIET,
    WEAK,
    counted,
    has_terminal,
    json_out,
    moment,
    notice,
    say,
    table,
)

if TYPE_CHECKING:
    from collections.abc import Generator

    from tidegate.app import Services
    from tidegate.domain.ledger import SubjectRequest
    from tidegate.privacy.erasure import Plan
    from tidegate.privacy.subjects import Found, Subject, SubjectRegister

subject = App(name="subject", help="Find what was sent about somebody, and have it erased.")

_IDENTIFIER_BYTES: Final = 4_096
_Subject = Annotated[
    str,
    Parameter(
        metavar="KIND[:ID]",
        help="Whom: `email:ada@example.com`. The kind alone asks for the identifier.",
    ),
]
_Client = Annotated[str, Parameter(metavar="CLIENT", help="Whose data it is.")]
_File = Annotated[
    Path | None, Parameter(metavar="FILE", help="Read the identifier from this file.")
]
_Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON.")]
_To = Annotated[
    Path | None, Parameter(metavar="FILE", help="Write there: a `.html`, `.pdf` or `.json` file.")
]


@subject.command
def find(
    whom: _Subject,
    /,
    *,
    client: _Client,
    from_file: _File = None,
    to: _To = None,
    as_json: _Json = False,
) -> int:
    """Say what was sent about somebody, to whom, for which purpose, and when."""
    kind, identifier = _whom(whom, from_file)
    with _register(kind, identifier, client) as (_, register, somebody):
        found = register.find(somebody)
    if to is not None:
        _write_found(to, found)
        return DONE
    if as_json:
        json_out(_found_json(found))
        return DONE
    _show_flows(found)
    if found.suppression is not None:
        say(("suppressed ", WEAK), f"since {moment(found.suppression.since)}: nothing more is sent")
    return DONE


@subject.command
def erase(
    whom: _Subject,
    /,
    *,
    client: _Client,
    from_file: _File = None,
    object_: Annotated[
        tuple[str, ...],
        Parameter(
            name="--object",
            negative="",
            metavar="PROVIDER=ID",
            help="The provider's own id of the subject, where it is needed. May be given again.",
        ),
    ] = (),
    consumer: Annotated[
        str | None, Parameter(metavar="CONSUMER", help="Which consumer's grants the calls go by.")
    ] = None,
    gateway: Annotated[
        str | None,
        Parameter(metavar="URL", help="Where the gateway takes calls; the running one's listener."),
    ] = None,
    to: _To = None,
    as_: As = None,
    yes: Annotated[
        bool, Parameter(negative="", help="Do it; without this, what would be done is shown.")
    ] = False,
) -> int:
    """Have somebody forgotten: suppress them, ask providers, destroy the key of their tokens.

    A provider is asked by its declared `erasure`, through the running gateway, and only where the ledger
    shows that something was sent. What has to be done by hand is named. Exit code 1 when something is
    left to do.
    """
    from tidegate.app import Home
    from tidegate.app.asking import ask
    from tidegate.app.erasing import Gateway, ThroughTheGateway
    from tidegate.privacy.erasure import Objects, plan
    from tidegate.privacy.erasure import erase as carried_out

    kind, identifier = _whom(whom, from_file)
    with _register(kind, identifier, client) as (state, register, somebody):
        revision = revision_in_force(state)
        objects = Objects(_objects(object_, [p.name for p in revision.declaration.providers]))
        made = plan(state.store, revision.declaration, register.find(somebody), objects)
        if not yes:
            _show_plan(made)
            return DONE
        if made.calls:
            place = (
                Gateway.at(gateway)
                if gateway
                else Gateway.among(ask(Home.from_environment(), "status")["addresses"])
            )
        else:
            place = Gateway("http", "127.0.0.1", 8080)
        carrier = ThroughTheGateway(state, revision.declaration, place, consumer)
        # Before anything is done: whether each call has somebody who may make it.
        for call in made.calls:
            carrier.consumer_for(client, call)
        request = carried_out(
            state.store,
            register,
            made,
            carrier,
            operator=operator(as_),
            revision=revision.number,
            destroy=(register.destroy_key,),
        )
    return _told(request, to)


@subject.command
def lift(whom: _Subject, /, *, client: _Client, from_file: _File = None, as_: As = None) -> int:
    """Let calls about somebody go again who was erased."""
    kind, identifier = _whom(whom, from_file)
    with _register(kind, identifier, client) as (_, register, somebody):
        request = register.lift(somebody, operator(as_))
    say(("lifted ", GOOD), f"calls about this subject go again; request {request.id}")
    return DONE


@subject.command
def suppressed(*, client: _Client, as_json: _Json = False) -> int:
    """List of whom nothing is sent any more: since when, by whom, and by the index alone."""
    with open_state() as state:
        found = state.store.subjects.suppressions(client)
    if as_json:
        json_out([asdict(one) | {"index": one.index.hex()} for one in found])
        return DONE
    table(
        ("since", "kind", "index", "by", "request"),
        [
            (
                moment(o.since),
                o.kind,
                (o.index.hex()[:16] + "…", QUIET),
                o.author,
                (o.request, NAME),
            )
            for o in found
        ],
    )
    return DONE


@subject.command
def requests(*, client: _Client, as_json: _Json = False) -> int:
    """List what was done for people who asked."""
    with open_state() as state:
        found = state.store.subjects.requests(client)
    if as_json:
        json_out([_request_json(one) for one in found])
        return DONE
    table(
        ("at", "request", "act", "kind", "by", "state"),
        [
            (
                moment(one.at),
                (one.id, NAME),
                one.act,
                one.kind,
                one.author,
                ("done", GOOD) if one.is_done else ("something is left to do", WEAK),
            )
            for one in found
        ],
    )
    return DONE


@subject.command
def evidence(
    request: Annotated[str, Parameter(metavar="REQUEST")], /, *, client: _Client, to: _To = None
) -> int:
    """Show the document that proves what was done, or write it to a file; its digest is checked first."""
    from tidegate.privacy.evidence import is_intact

    with open_state() as state:
        found = state.store.subjects.request(client, request)
    if found is None:
        raise Refusal(
            f"client `{client}` has no request `{request}`",
            "`tidegate subject requests` lists them",
        )
    if not is_intact(found.document, found.digest):
        raise Refusal(
            f"the document of `{request}` was altered in the store",
            "restore a backup, and find out by whom",
        )
    if to is None:
        print(found.document)
        notice(("sha256 ", QUIET), found.digest)
        return DONE
    _write_evidence(to, found)
    return DONE


@contextmanager
def _register(
    kind: str, identifier: str, client: str
) -> Generator[tuple[Services, SubjectRegister, Subject]]:
    from tidegate.privacy.subjects import SubjectRegister

    with open_state() as state:
        declaration = revision_in_force(state).declaration
        register = SubjectRegister(state.store, state.vault, state.acts)
        yield state, register, register.subject(declaration, client, kind, identifier)


def _whom(text: str, from_file: Path | None) -> tuple[str, str]:
    kind, colon, identifier = text.partition(":")
    if colon:
        if from_file is not None:
            raise Refusal("the identifier is given twice", "give the kind alone, or no file")
        return kind, identifier
    if from_file is not None:
        try:
            with from_file.open("rb") as opened:
                return kind, _line(opened.read(_IDENTIFIER_BYTES + 1))
        except OSError as error:
            raise Refusal(f"cannot read `{from_file}`: {error.strerror}") from None
    if has_terminal():
        print(f"{kind}: ", end="", file=sys.stderr, flush=True)
        return kind, _line(sys.stdin.readline(_IDENTIFIER_BYTES + 1).encode())
    if sys.stdin is None:
        raise Refusal("there is nobody to ask whom it is about", "give it on standard input")
    return kind, _line(sys.stdin.buffer.readline(_IDENTIFIER_BYTES + 1))


def _line(content: bytes) -> str:
    if len(content) > _IDENTIFIER_BYTES:
        raise Refusal("the identifier is longer than 4,096 bytes")
    try:
        text = content.decode().strip()
    except UnicodeDecodeError:
        raise Refusal("the identifier is not UTF-8") from None
    if not text:
        raise Refusal("the identifier is empty", "give it on standard input, or as `KIND:ID`")
    return text


def _objects(given: tuple[str, ...], providers: list[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for text in given:
        provider, equals, id_ = text.partition("=")
        if not equals or not id_:
            raise Refusal("`--object` takes `PROVIDER=ID`")
        if provider not in providers:
            raise Refusal(f"there is no provider `{provider}`")
        found[provider] = (*found.get(provider, ()), id_)
    return found


def _show_flows(found: Found) -> None:
    table(
        (
            *("provider", "operation", "field", "category", "done", "purpose"),
            *(("calls", "right"), "first", "last"),
        ),
        [
            (
                (one.provider, NAME),
                one.operation,
                one.at or ("not listed", WEAK),
                one.category or "-",
                one.action,
                one.purpose or "-",
                f"{one.count:,}",
                (moment(one.first), QUIET),
                (moment(one.last), QUIET),
            )
            for one in found.flows
        ],
    )


def _show_plan(made: Plan) -> None:
    _show_flows(made.found)
    for call in made.calls:
        through = f" by connection `{call.connection}`" if call.connection else ""
        say(("would ask  ", GOOD), f"{call.provider.name}:{call.operation.id}{through}")
    for step in made.by_hand:
        say(("by hand    ", WEAK), f"{step.provider}: {step.detail}")
    say((f"would send nothing more about this {made.found.subject.kind}; `--yes` does it", QUIET))


def _told(request: SubjectRequest, to: Path | None) -> int:
    import json

    colours = {"erased": GOOD, "nothing_there": GOOD, "by_hand": WEAK, "failed": BAD}
    steps = json.loads(request.document)["providers"]
    table(
        ("provider", "outcome", "status", "what"),
        [
            (
                (one["provider"], NAME),
                (one["outcome"].replace("_", " "), colours[one["outcome"]]),
                str(one["status"] or "-"),
                one["detail"] or one["operation"],
            )
            for one in steps
        ],
    )
    say(("suppressed ", GOOD), "nothing more is sent about this subject")
    say(("request    ", QUIET), f"{request.id}, sha256 {request.digest}")
    if to is not None:
        _write_evidence(to, request)
    left = [one for one in steps if one["outcome"] in {"by_hand", "failed"}]
    if left:
        notice(("left ", WEAK), f"{counted(len(left), 'provider')} to be followed up")
    return REFUSED if left else DONE


def _found_json(found: Found) -> dict[str, object]:
    return {
        "client": found.subject.client,
        "kind": found.subject.kind,
        "index": found.subject.index.hex(),
        "sent": [asdict(one) for one in found.flows],
        "suppressed_since": found.suppression.since if found.suppression else None,
    }


def _request_json(request: SubjectRequest) -> dict[str, object]:
    return {**asdict(request), "index": request.index.hex()}


def _write_found(to: Path, found: Found) -> None:
    from datetime import UTC, datetime

    from tidegate import __version__
    from tidegate.cli.reporting import json_text, write, write_page
    from tidegate.privacy.evidence import LIMITS
    from tidegate.privacy.pages import page

    if to.suffix == ".json":
        write(to, json_text(_found_json(found)))
        return
    made = page(
        "found.html", found=found, limits=LIMITS[:3], version=__version__, made_at=datetime.now(UTC)
    )
    write_page(to, made, (".html", ".pdf", ".json"))


def _write_evidence(to: Path, request: SubjectRequest) -> None:
    import json

    from tidegate import __version__
    from tidegate.cli.reporting import write, write_page
    from tidegate.privacy.pages import page

    if to.suffix == ".json":
        # The very bytes that the digest is of.
        write(to, request.document)
        return
    document = json.loads(request.document)
    made = page(
        "evidence.html",
        document=document,
        digest=request.digest,
        version=__version__,
        made_at=request.at,
    )
    write_page(to, made, (".html", ".pdf", ".json"))
