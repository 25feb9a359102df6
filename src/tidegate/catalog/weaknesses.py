"""Name what a declaration lets through that Tidegate would otherwise refuse.

A weakening is allowed, never silent: `check` and `up` show each of these.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from tidegate.catalog.crowded_quotas import crowded_quotas, impatient_queues
from tidegate.catalog.errors import listed
from tidegate.catalog.limits import idle_limits
from tidegate.catalog.patterns import OperationTable
from tidegate.catalog.protection import Policies
from tidegate.domain.declaration import Declaration, Grant, Provider
from tidegate.domain.protection import (
    Encrypt,
    EncryptFile,
    PgpKey,
    Protection,
    RecipientKey,
    Seal,
)
from tidegate.domain.sign import Digest, HookSigner

KEY_DAYS_LEFT: Final = 30
"""From when on a provider's key that ends soon is told of."""


@dataclass(frozen=True, slots=True)
class Weakness:
    """Where a declaration is weaker than it could be, and in what."""

    where: str
    what: str


def weaknesses(declaration: Declaration) -> list[Weakness]:
    """All weakenings, in the declaration's order."""
    return [
        *(weakness for provider in declaration.providers for weakness in _of_provider(provider)),
        *(weakness for grant in declaration.grants for weakness in _of_grant(grant)),
        *(weakness for policy in declaration.protection for weakness in _of_policy(policy)),
        *_unprotected(declaration),
        *(
            Weakness(where, f"never bites: `{other}` holds for the same calls and bites before")
            for where, other in idle_limits(declaration)
        ),
        *(Weakness(where, what) for where, what in crowded_quotas(declaration)),
        *(Weakness(where, what) for where, what in impatient_queues(declaration)),
    ]


def _of_provider(provider: Provider) -> Iterator[Weakness]:
    where = f"providers.{provider.name}"
    if provider.allow_private:
        ranges = ", ".join(provider.allow_private)
        yield Weakness(
            f"{where}.allow_private",
            f"calls may go to private addresses ({ranges}); what listens there is in reach",
        )
    if any(origin.startswith("http://") for origin in provider.origins):
        yield Weakness(
            f"{where}.origins",
            "calls and the credential travel without TLS; whoever is on the path can read them",
        )
    if isinstance(provider.sign, Digest) and provider.sign.md5:
        yield Weakness(
            f"{where}.auth",
            "the password is proven by MD5 where the provider offers nothing better; what was "
            "heard of one call helps to guess it",
        )
    if isinstance(provider.sign, HookSigner):
        given = ", ".join(f"`{name}`" for name in provider.sign.given)
        yield Weakness(
            f"{where}.auth",
            f"runs code: `{provider.sign.hook}` signs calls inside the gateway, and sees {given} of "
            "the credential in clear",
        )
    if provider.encoded_slash:
        yield Weakness(
            f"{where}.encoded_slash",
            "`%2F` may stand in a path; a provider that decodes it early sees another path than "
            "the one that was decided",
        )


def _of_grant(grant: Grant) -> Iterator[Weakness]:
    if grant.mode == "report":
        until = f"until {grant.enforce_from:%Y-%m-%d}" if grant.enforce_from else "with no end date"
        yield Weakness(
            grant.name,
            f"calls of `{grant.consumer}` to `{grant.provider}` that no grant covers are let "
            f"through and recorded, {until}",
        )
    if any(not pattern.strip("* ") for pattern in grant.operations):
        yield Weakness(
            grant.name,
            f"`{grant.consumer}` may call every operation of `{grant.provider}`, also those that "
            "the provider adds later",
        )


_UNNAMED = {"body $", "form *", "part *", "graphql $", "csv *", "query *"}
_ROOT = re.compile(r"xml /[^/]+")


def _of_policy(policy: Protection) -> Iterator[Weakness]:
    if policy.report_until is not None:
        yield Weakness(
            policy.name,
            f"calls go as they are, and what would become of them is recorded, until "
            f"{policy.report_until:%Y-%m-%d}",
        )
    for rule in policy.fields:
        if isinstance(rule.do, Encrypt | Seal | EncryptFile) and rule.do.key.expires is not None:
            yield from _of_key(policy, rule.do.key, rule.do.key.expires)
        if rule.leaves and (rule.at in _UNNAMED or _ROOT.fullmatch(rule.at)):
            yield Weakness(
                policy.name,
                f"`{rule.at}` lets fields go that nobody has named, also those that come later",
            )


def _of_key(
    policy: Protection, key: RecipientKey | PgpKey, expires: datetime
) -> Iterator[Weakness]:
    left = (expires - datetime.now(UTC)).days
    if left < KEY_DAYS_LEFT:
        when = "has expired: calls are refused" if left < 0 else f"expires on {expires:%Y-%m-%d}"
        yield Weakness(
            policy.name,
            f"the provider's key in `{key.file}` {when}; declare the one that comes after it",
        )


def _unprotected(declaration: Declaration) -> Iterator[Weakness]:
    """Say of each provider how many operations that grants reach have no policy.

    Only where something is declared of protection: without it all operations have none.
    """
    if not declaration.protection:
        return
    policies = Policies(declaration)
    for provider in declaration.providers:
        if provider.unprotected == "refuse":
            continue
        table = OperationTable(provider.operations)
        reached = {
            number
            for grant in declaration.grants
            if grant.provider == provider.name and grant.unprotected == "observe"
            for pattern in grant.operations
            for number in table.matching(pattern)
        }
        open_ones = sorted(reached - policies.of(provider).keys())
        if open_ones:
            names = listed((provider.operations[number].id for number in open_ones), most=4)
            yield Weakness(
                f"providers.{provider.name}",
                f"all that a call of {names} carries goes out: no policy under `protection` is for it; "
                f"`tidegate protect suggest {provider.name}` drafts one, `unprotected: refuse` refuses "
                "such calls",
            )
