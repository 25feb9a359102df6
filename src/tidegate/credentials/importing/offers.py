"""Make offers of findings: which connections could be made, and why the others cannot.

Findings of one provider are joined into one credential. Nothing is guessed: two values for one
field, or a provider that is declared twice, is for the operator to settle.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from tidegate.catalog.errors import listed
from tidegate.catalog.fields import NAME_PATTERN
from tidegate.catalog.origins import fill_origins
from tidegate.catalog.preset import preset_names
from tidegate.credentials.errors import CredentialRefused, require_known
from tidegate.credentials.fields import require_fitting, wanted_fields
from tidegate.credentials.importing.findings import Finding, Known, title_of
from tidegate.domain.connection import Connection
from tidegate.domain.declaration import Declaration, Provider
from tidegate.domain.secret import Secret


@dataclass(frozen=True, slots=True)
class Offer:
    """One connection that could be made of findings.

    `refused` says why not, or is empty; `write` is what to write in tidegate.yaml then. `values`
    and `variables` are what `Connections.connect` takes; neither is for showing.
    """

    known: str
    title: str
    findings: tuple[Finding, ...]
    provider: str | None = None
    leaves_for: tuple[str, ...] = ()
    refused: str = ""
    write: tuple[str, ...] = ()
    values: Mapping[str, Secret] = field(default_factory=dict[str, Secret], repr=False)
    variables: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)

    @property
    def preset(self) -> str | None:
        """The preset that knows this provider."""
        return self.known if self.known in preset_names() else None


@dataclass(frozen=True, slots=True)
class Wish:
    """Under what offers are made: the declaration in force, what is connected, for whom and as what."""

    declaration: Declaration
    connections: tuple[Connection, ...]
    client: str
    name: str


def offers_for(findings: Iterable[Finding], known: Known, wish: Wish) -> list[Offer]:
    """Join findings into offers, one a provider, in the order of the source."""
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.provider is not None:
            groups.setdefault(finding.provider, []).append(finding)
    return [
        _offer(name, tuple(group), known, wish)
        for name, group in groups.items()
        if any(one.state == "usable" and not one.is_address for one in group)
    ]


def _offer(name: str, findings: tuple[Finding, ...], known: Known, wish: Wish) -> Offer:
    offer = Offer(name, title_of(name, known), findings)
    try:
        provider = _declared(offer, wish.declaration)
        offer = replace(offer, provider=provider.name, leaves_for=provider.origins)
        _require_client(wish)
        offer = replace(
            offer, values=_values(findings), variables=_variables(name, findings, known)
        )
        _require_whole(provider, offer, known)
        require_fitting(provider, offer.values)
        _require_new(provider, wish)
    except _NotYet as reason:
        return replace(offer, refused=str(reason), write=reason.write)
    except CredentialRefused as reason:
        return replace(offer, refused=str(reason))
    return offer


class _NotYet(Exception):  # noqa: N818 - it ends the judging of one offer
    def __init__(self, reason: str, *write: str) -> None:
        super().__init__(reason)
        self.write = write


def _declared(offer: Offer, declaration: Declaration) -> Provider:
    """The one declared provider that this credential is for."""
    fitting = [one for one in declaration.providers if one.preset == offer.known] or [
        one for one in declaration.providers if one.name == offer.known
    ]
    if len(fitting) > 1:
        names = listed(one.name for one in fitting)
        raise _NotYet(f"It is declared as {names}: say which by `tidegate connect`.")
    if fitting:
        return fitting[0]
    if offer.preset is None:
        raise _NotYet(
            f"Tidegate has no preset for {offer.title}: declare a provider `{offer.known}`."
        )
    line = f"  {offer.preset}: {{preset: {offer.preset}}}"
    raise _NotYet("It is not declared as a provider.", "providers:", line)


def _require_client(wish: Wish) -> None:
    try:
        require_known("client", wish.client, (one.name for one in wish.declaration.clients))
    except CredentialRefused as refused:
        named = re.fullmatch(NAME_PATTERN, wish.client) is not None
        write = ("clients:", f"  {wish.client}: {{}}") if named else ()
        raise _NotYet(str(refused), *write) from None


def _values(findings: tuple[Finding, ...]) -> dict[str, Secret]:
    found: dict[str, Finding] = {}
    for one in _usable(findings, is_address=False):
        first = found.setdefault(one.part or "", one)
        if not _same(first, one):
            raise _NotYet(_differ(first, one))
    return {part: one.variable.value for part, one in found.items() if one.variable.value}


def _variables(name: str, findings: tuple[Finding, ...], known: Known) -> dict[str, str]:
    """What fills the provider's address: no more than one label, which the provider's rule holds."""
    parts = known[name].variables
    filled: dict[str, str] = {}
    first: dict[str, Finding] = {}
    for one in _usable(findings, is_address=True):
        taken = parts[one.part or ""].taken(_text(one))
        known_before = filled.setdefault(one.part or "", taken or "")
        first.setdefault(one.part or "", one)
        if known_before != taken:
            raise _NotYet(_differ(first[one.part or ""], one))
    for part, rule in parts.items():
        sources = (one for one in _usable(findings, is_address=False) if one.part == rule.of_field)
        for one in sources:
            taken = rule.taken(_text(one))
            if taken is not None:
                filled.setdefault(part, taken)
    return filled


def _require_whole(provider: Provider, offer: Offer, known: Known) -> None:
    for part in wanted_fields(provider):
        if part not in offer.values:
            field_known = known[offer.known].fields.get(part)
            raise _NotYet(
                _missing(
                    f"The field `{part}`", part, offer, field_known.names if field_known else []
                )
            )
    for part in provider.variables:
        if part not in offer.variables:
            rule = known[offer.known].variables.get(part)
            missing = _missing(
                f"The `{part}` of its address", part, offer, rule.names if rule else []
            )
            raise _NotYet(f"{missing} `tidegate connect {provider.name} --var {part}=…` takes it.")
    try:
        fill_origins(provider, {part: offer.variables[part] for part in provider.variables})
    except ValueError as error:
        reason = str(error)
        raise _NotYet(f"{reason[:1].upper()}{reason[1:]}.") from None


def _missing(what: str, part: str, offer: Offer, names: list[str]) -> str:
    """Say why a part is not there: its variable is unusable, or there is none."""
    for one in offer.findings:
        if one.part == part and one.state != "usable":
            return f"{what} is missing: `{one.variable.shown_name}` is there, but {one.reason}."
    called = f"; it would be called {listed(names[:3])}" if names else ""
    return f"{what} is missing{called}."


def _require_new(provider: Provider, wish: Wish) -> None:
    for one in wish.connections:
        if (one.client, one.provider, one.name) == (wish.client, provider.name, wish.name):
            raise _NotYet(
                f"It is connected already as `{wish.name}`, version {one.version}: `--name` makes "
                f"another one, `tidegate connect {provider.name}` replaces it."
            )


def _usable(findings: tuple[Finding, ...], *, is_address: bool) -> Iterator[Finding]:
    return (one for one in findings if one.state == "usable" and one.is_address == is_address)


def _same(first: Finding, second: Finding) -> bool:
    one, other = first.variable.value, second.variable.value
    return one is not None and other is not None and one.matches(other)


def _text(finding: Finding) -> str:
    value = finding.variable.value
    return value.reveal().decode("utf-8", "replace") if value else ""


def _differ(first: Finding, second: Finding) -> str:
    names = " and ".join(
        f"`{one.variable.shown_name}` ({one.variable.place})" for one in (first, second)
    )
    return f"{names} hold different values: keep one, or name each by `tidegate connect --name`."
