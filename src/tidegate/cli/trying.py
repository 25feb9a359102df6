"""`sandbox`, `demo` and `version`: see it work before anything real is connected."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from tidegate import __version__
from tidegate.cli.outcome import DONE, Refusal
from tidegate.cli.terminal import BAD, GOOD, NAME, QUIET, WEAK, counted, json_out, say
from tidegate.domain.attach import AttachBasic, AttachHeader, AttachPart

if TYPE_CHECKING:
    from tidegate.sandbox import Received, Sandbox

_PORT_MAX = 65_535
_CLIENT_ERROR = 400


def sandbox(
    what: Annotated[str, Parameter(help="A preset, or the file of an OpenAPI document.")],
    /,
    *,
    host: Annotated[str, Parameter(metavar="ADDRESS", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[
        int, Parameter(validator=Number(gte=0, lte=_PORT_MAX), help="0 takes a free one.")
    ] = 0,
    rule: Annotated[
        tuple[str, ...],
        Parameter(
            negative="",
            metavar="PATH=WHAT",
            help="Misbehave: `/v1/charges*=fail:503`; also slow, trickle, redirect, echo, mirror, cut, "
            "big, sse. May be given again.",
        ),
    ] = (),
    ca_file: Annotated[
        Path | None,
        Parameter(metavar="FILE", help="Write the certificate of its authority here too."),
    ] = None,
    credential_file: Annotated[
        Path | None,
        Parameter(metavar="FILE", help="Write the credential that it takes here, for `connect`."),
    ] = None,
    as_json: Annotated[
        bool, Parameter(name="--json", negative="", help="Print one JSON object a line.")
    ] = False,
) -> int:
    """Run a provider made from a preset or an OpenAPI document, until interrupted.

    It speaks TLS by an authority of its own, checks the credential, answers from the document's
    examples and schemas, and shows each call as a provider would see it: names, never values.
    """
    from tidegate.sandbox import serve

    def announce(running: Sandbox) -> None:
        if credential_file is not None:
            _write_credential(credential_file, running)
        if as_json:
            json_out(_as_json(running), indent=None)
        else:
            _announce(running, what, ca_file or running.ca_file, credential_file)

    def show(call: Received) -> None:
        if as_json:
            json_out(call.redacted(), indent=None)
        else:
            _show(call)

    try:
        serve(what, announce=announce, show=show, host=host, port=port, rules=rule, ca_file=ca_file)
    except (LookupError, OSError, ValueError) as error:
        raise Refusal(str(error)) from error
    return DONE


def version() -> int:
    """Print the versions of Tidegate and its engine."""
    from tidegate.engine import version as engine_version

    say(f"tidegate {__version__}, engine {engine_version()}")
    return DONE


def _announce(running: Sandbox, what: str, ca_file: Path, credential_file: Path | None) -> None:
    from tidegate.catalog import presets

    built_in = what in presets()
    name = what if built_in else "sandbox"
    known = counted(len(running.contract.operations), "operation")
    say((running.contract.title, NAME), f" in a sandbox at {running.origin}, {known}")
    say(("Declare it so:", QUIET))
    source = [f"preset: {what}"] if built_in else [f"openapi: {Path(what).absolute()}"]
    if not built_in or presets()[what].provider.issues:
        source.append(_auth(running))
    say("  providers:")
    say(f"    {name}:")
    for line in (
        *source,
        f"origin: {running.origin}",
        "allow_private: [127.0.0.0/8]",
        f"tls: {{ca: {ca_file}}}",
    ):
        say(f"      {line}")
    if credential_file is not None:
        said = f"tidegate connect {name} --client CLIENT --from-file {credential_file}"
        say(("Connect it so: ", QUIET), said)
        return
    say(("Connect it with the credential that was made up for it:", QUIET))
    for field, value in _credential(running).items():
        say(f"  {field}={value}")


def _show(call: Received) -> None:
    status = call.status or 0
    good = status < _CLIENT_ERROR and call.end == "answered"
    say(
        (f"{status or call.end}", GOOD if good else BAD),
        f"  {call.method} {call.path}",
        (f"  {call.operation or 'no such operation'}", NAME if call.operation else WEAK),
        (f"  credential {call.credential}", GOOD if call.credential == "right" else WEAK),
    )


def _credential(running: Sandbox) -> dict[str, str]:
    """Show what was made up a moment ago, and is worth nothing anywhere else."""
    first = next(iter(running.accounts.values()))
    return {field: secret.reveal().decode() for field, secret in first.items()}


def _write_credential(file: Path, running: Sandbox) -> None:
    """Write it in the form that `connect --from-file` reads, for this user alone."""
    fields = _credential(running)
    content = json.dumps(fields) if len(fields) > 1 else "".join(fields.values())
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as opened:
        opened.write(content + "\n")


def _auth(running: Sandbox) -> str:
    """Say in the words of `tidegate.yaml` where the sandbox expects the credential."""
    return f"auth: [{', '.join(_auth_form(part) for part in running.contract.attach)}]"


def _auth_form(part: AttachPart) -> str:
    match part:
        case AttachBasic():
            return "basic"
        case AttachHeader(prefix="Bearer "):
            return "bearer"
        case _:
            return f"{{{part.kind}: {part.name}}}"


def _as_json(running: Sandbox) -> dict[str, object]:
    return {
        "title": running.contract.title,
        "origin": running.origin,
        "ca_file": str(running.ca_file),
        "operations": len(running.contract.operations),
        "credential": _credential(running),
    }
