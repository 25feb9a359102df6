"""`connect`, `connections` and `disconnect`: clients' accounts at providers.

A secret comes from a hidden prompt, standard input or a file. It is never taken from the command
line, which every process of the machine can read, and never shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from tidegate.cli.outcome import DONE, Refusal
from tidegate.cli.reading import open_state, ready_vault, revision_in_force
from tidegate.cli.terminal import BAD, GOOD, NAME, QUIET, WEAK, json_out, moment, notice, say, table
from tidegate.domain.connection import DEFAULT_CONNECTION

if TYPE_CHECKING:
    from tidegate.domain.connection import Connection
    from tidegate.store import IssuedToken

_Client = Annotated[str, Parameter(metavar="CLIENT", help="Whose account it is.")]
_Provider = Annotated[str, Parameter(help="The provider, as the declaration names it.")]
_Name = Annotated[
    str, Parameter(metavar="NAME", help="Tells several accounts at one provider apart.")
]
_Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON.")]


def connect(
    provider: _Provider,
    /,
    *,
    client: _Client,
    name: _Name = DEFAULT_CONNECTION,
    from_file: Annotated[
        tuple[str, ...],
        Parameter(
            negative="",
            metavar="[FIELD=]FILE",
            help="Read the secret from this file; FIELD=FILE reads one field. May be given again.",
        ),
    ] = (),
    from_: Annotated[
        str,
        Parameter(
            name="--from",
            metavar="REFERENCE",
            help="Leave the secret where it is: `openbao:MOUNT/PATH#FIELD`, in a KV engine.",
        ),
    ] = "",
    var: Annotated[
        tuple[str, ...],
        Parameter(
            negative="",
            metavar="NAME=VALUE",
            help="Fill a variable of the provider's address: `shop=acme`. May be given again.",
        ),
    ] = (),
    link: Annotated[
        bool,
        Parameter(negative="", help="Print a link for somebody else who is to consent."),
    ] = False,
    expires: Annotated[
        str, Parameter(metavar="TIME", help="How long that link works: `30m`, `24h`, `7d`.")
    ] = "24h",
    port: Annotated[
        int, Parameter(help="The loopback port to be sent back to; any free one by default.")
    ] = 0,
    browser: Annotated[
        bool, Parameter(negative="--no-browser", help="Open a browser where consent is needed.")
    ] = True,
) -> int:
    """Seal a client's credential for a provider, as a new connection or the next version of one.

    At a terminal it asks for each field, without showing it. Otherwise it reads standard input. A
    credential of one field is read as it is; one of several as JSON, or as lines of `field=value`.

    Where the provider wants a person's consent, the fields are those of your own app there. It then
    waits for a browser on this machine, or, with `--link`, prints a link that works once, for whoever
    has the account. The consent replaces the one before only if it is for the same account.

    With `--from` the secret stays at OpenBao (or Vault), named by `BAO_ADDR` and `BAO_TOKEN`: the
    gateway reads it there, and takes up a new version by itself.
    """
    from tidegate.cli.consenting import Wanted, by_code, by_link, in_browser
    from tidegate.cli.secrets import read_credential

    variables = _variables(var)
    with open_state() as state, state.calling_out() as engine:
        declaration = revision_in_force(state).declaration
        ready_vault(state)
        connections = state.connections_by(engine)
        grant = connections.grant(declaration, provider)
        if link and (grant is None or grant.grant != "authorization_code"):
            raise Refusal(
                f"`{provider}` is not connected by a link",
                "leave `--link` out; a link is for `grant: authorization_code`",
            )
        if from_:
            if from_file:
                raise Refusal("`--from` and `--from-file` are two places", "keep one of them")
            made = connections.refer(declaration, provider, client, name, from_, variables)
        elif grant is None or not grant.asks_a_person:
            fields = read_credential(connections.fields(declaration, provider), from_file)
            made = connections.connect(declaration, provider, client, name, fields, variables)
        else:
            fields = read_credential(connections.entered(declaration, provider), from_file)
            wanted = Wanted(provider, client, name, fields, variables)
            if link:
                by_link(state, declaration, engine, wanted, expires)
                return DONE
            if grant.grant == "device_code":
                made = by_code(state, declaration, engine, wanted)
            else:
                made = in_browser(state, declaration, engine, wanted, port, browser=browser)
    where = ", ".join(made.origins)
    say(
        ("connected ", GOOD),
        f"{made.client} to {made.provider} as {made.name}, version {made.version}",
    )
    endpoint = _endpoint(made)
    if made.is_reference:
        say(f"Its credential stays at OpenBao; where it is, is sealed. It leaves only for {where}.")
    elif endpoint:
        say(f"Its credential is sealed, and leaves only for {endpoint}, where tokens are issued.")
        say(f"The tokens leave only for {where}.")
    else:
        say(f"Its credential is sealed, and leaves only for {where}.")
    return DONE


def connections(*, as_json: _Json = False) -> int:
    """List the connections: whose, where to, since when. No secret is shown."""
    with open_state() as state:
        known = state.store.connections.all()
        issued = state.store.issued.all()
    now = datetime.now(UTC)
    tokens = {one.id: _token(one, issued.get(one.id), now) for one in known}
    if as_json:
        json_out([_as_json(one) | {"token": tokens[one.id][0]} for one in known])
        return DONE
    rows = [
        (
            (one.client, NAME),
            one.provider,
            one.name,
            one.scheme.partition(" ")[0] + (" (OpenBao)" if one.is_reference else ""),
            tokens[one.id],
            str(one.version),
            ", ".join(one.origins),
            moment(one.rotated_at),
        )
        for one in known
    ]
    columns = (
        "client",
        "provider",
        "name",
        "credential",
        "token",
        ("version", "right"),
        "bound to",
        "since",
    )
    table(columns, rows)
    return DONE


def _endpoint(one: Connection) -> str:
    """Where the connection's tokens are issued; empty where its credential is used as it is."""
    kind, _, rest = one.scheme.partition(" ")
    return rest.partition(" ")[0] if kind == "oauth2" else ""


def _token(one: Connection, token: IssuedToken | None, now: datetime) -> tuple[str, str]:
    """Say how the connection's token fares, and in which colour."""
    if not one.issues_tokens:
        return "", QUIET
    if token is None or token.version != one.version:
        return "not asked for yet", WEAK
    if token.ended:
        return f"needs reconsent ({token.trouble})", BAD
    fresh = token.expires_at is not None and token.expires_at > now
    if fresh and token.trouble is None:
        return f"until {moment(token.expires_at)}", GOOD
    if fresh:
        return f"until {moment(token.expires_at)}; the next: {token.trouble}", WEAK
    return f"none: {token.trouble or 'expired'}", BAD


def disconnect(provider: _Provider, /, *, client: _Client, name: _Name = DEFAULT_CONNECTION) -> int:
    """Forget a connection, and destroy its sealed credential.

    Tokens are revoked at the provider where its declaration says how (`revocation_url`). Any other
    credential stays valid there: revoke it there too.
    """
    from tidegate.credentials import Revoked

    with open_state() as state, state.calling_out() as engine:
        current = state.store.revisions.current()
        declaration = None if current is None else current.declaration
        connections = state.connections_by(engine)
        _, revoked = connections.disconnect(client, provider, name, declaration)
    say(("disconnected ", GOOD), f"{client} from {provider} ({name})")
    if revoked is Revoked.DONE:
        say("Its tokens are revoked at the provider.")
    else:
        failed = "; revoking it failed" if revoked is Revoked.FAILED else ""
        notice(("weak ", WEAK), f"the credential may still be valid at {provider}{failed}")
    return DONE


def _variables(words: tuple[str, ...]) -> Mapping[str, str]:
    filled: dict[str, str] = {}
    for word in words:
        variable, equals, value = word.partition("=")
        if not equals or not variable:
            raise Refusal("`--var` takes NAME=VALUE", "for example `--var shop=acme`")
        filled[variable] = value
    return filled


def _as_json(one: Connection) -> dict[str, object]:
    return {
        "id": one.id,
        "client": one.client,
        "provider": one.provider,
        "name": one.name,
        "version": one.version,
        "scheme": one.scheme,
        "origins": one.origins,
        "fields": one.fields,
        "created_at": one.created_at,
        "rotated_at": one.rotated_at,
    }
