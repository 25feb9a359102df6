"""`token create|list|revoke`: the access tokens that consumers show Tidegate."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from tidegate.cli.outcome import DONE
from tidegate.cli.reading import open_state, ready_vault, revision_in_force
from tidegate.cli.terminal import (
    BAD,
    GOOD,
    NAME,
    QUIET,
    WEAK,
    json_out,
    moment,
    notice,
    say,
    table,
)

if TYPE_CHECKING:
    from tidegate.domain.connection import AccessToken

token = App(name="token", help="Create, list and revoke access tokens.")

_DEFAULT_DAYS = 30
_EXPIRES_SOON_DAYS = 7
_Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON.")]


@token.command
def create(
    consumer: Annotated[str, Parameter(help="The consumer that will show it.")],
    /,
    *,
    client: Annotated[
        str | None,
        Parameter(metavar="CLIENT", help="Bind it to one client; else each call names its client."),
    ] = None,
    provider: Annotated[
        tuple[str, ...],
        Parameter(
            negative="",
            metavar="PROVIDER",
            help="Let it reach this provider alone. May be given again.",
        ),
    ] = (),
    days: Annotated[int, Parameter(help="How long it is valid.")] = _DEFAULT_DAYS,
    allow_long: Annotated[
        bool, Parameter(negative="", help="Let it be valid for more than 90 days.")
    ] = False,
    as_json: _Json = False,
) -> int:
    """Create an access token and show it, this once.

    Only the token goes to standard output, so that `$(tidegate token create shop)` holds it.
    A consumer may have two at a time, which is what replacing one without a pause takes.
    """
    with open_state() as state:
        declaration = revision_in_force(state).declaration
        ready_vault(state)
        made, secret = state.tokens.create(
            declaration,
            consumer,
            client=client,
            providers=provider,
            days=days,
            allow_long=allow_long,
        )
    text = secret.reveal().decode("ascii")
    if as_json:
        json_out({**_as_json(made), "token": text})
        return DONE
    notice((made.id, NAME), f" for {consumer}, valid until {moment(made.expires_at)}")
    notice(("It is shown this once; Tidegate keeps no copy of it.", QUIET))
    print(text)
    return DONE


@token.command(name="list")
def list_tokens(*, as_json: _Json = False) -> int:
    """List the access tokens, without the tokens themselves."""
    with open_state() as state:
        known = state.tokens.list()
    if as_json:
        json_out([_as_json(one) for one in known])
        return DONE
    now = datetime.now(UTC)
    columns = ("token", "consumer", "client", "providers", "state", "expires", "last used")
    table(columns, [_row(one, now) for one in known])
    return DONE


@token.command
def revoke(identity: Annotated[str, Parameter(name="TOKEN", help="Its id: `tok_…`.")], /) -> int:
    """Revoke an access token: it is refused within a second, for good."""
    with open_state() as state:
        state.tokens.revoke(identity)
    say(("revoked ", GOOD), identity)
    return DONE


def _row(one: AccessToken, now: datetime) -> tuple[str | tuple[str, str], ...]:
    return (
        (one.id, NAME),
        one.consumer,
        one.client or "any",
        ", ".join(one.providers) or "any",
        _state(one, now),
        moment(one.expires_at),
        moment(one.last_used_at),
    )


def _state(one: AccessToken, now: datetime) -> tuple[str, str]:
    if one.revoked_at is not None:
        return "revoked", BAD
    if one.expires_at <= now:
        return "expired", BAD
    if (one.expires_at - now).days < _EXPIRES_SOON_DAYS:
        return "expires soon", WEAK
    return "valid", GOOD


def _as_json(one: AccessToken) -> dict[str, object]:
    return {
        "id": one.id,
        "consumer": one.consumer,
        "client": one.client,
        "providers": one.providers,
        "created_at": one.created_at,
        "expires_at": one.expires_at,
        "revoked_at": one.revoked_at,
        "last_used_at": one.last_used_at,
    }
