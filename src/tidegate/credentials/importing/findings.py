"""Recognise credentials among variables: by what they are called, and by the form of their value.

A name says which field of which provider a value is for; a published form says whose secret it is.
Where both speak they must agree. What has a form but no place in a preset is found too, so that
the operator knows it is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from tidegate.catalog.known_variables import (
    KnownField,
    KnownProvider,
    known_variables,
    normal_name,
)
from tidegate.catalog.pasted_secrets import secret_form
from tidegate.catalog.preset import preset_names, presets
from tidegate.credentials.fields import wanted_fields
from tidegate.credentials.importing.variables import Variable
from tidegate.domain.declaration import Declaration

PLACEHOLDER: Final = "placeholder"

State = Literal["usable", "placeholder", "misfit", "unplaced"]
RecognisedBy = Literal["name", "form"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A variable that holds, or by its name should hold, part of a credential.

    `provider` is a key of the known providers, `part` a field of its credential or, with
    `is_address`, a variable of its address; both None where a secret has no place in a preset.
    `reason` says why a finding that is not usable is not.
    """

    variable: Variable
    provider: str | None
    part: str | None
    by: tuple[RecognisedBy, ...]
    form: str | None
    state: State
    reason: str = ""
    is_address: bool = False


Known = Mapping[str, KnownProvider]


def known_providers(declaration: Declaration) -> Known:
    """What is built in, and of each provider with no preset `PROVIDER_FIELD`, as in `BANK_TOKEN`."""
    known = dict(known_variables().providers)
    for provider in declaration.providers:
        if provider.preset not in known and provider.name not in known:
            fields = {
                field: KnownField(names=[normal_name(f"{provider.name}_{field}")])
                for field in wanted_fields(provider)
            }
            known[provider.name] = KnownProvider(title=provider.title, fields=fields)
    return known


def title_of(name: str, known: Known) -> str:
    """What people call a known provider."""
    return known[name].title or (presets()[name].title if name in preset_names() else name)


def recognise(variables: Iterable[Variable], known: Known) -> list[Finding]:
    """Find the credentials among variables, in their order."""
    recogniser = _Recogniser(known)
    found = (recogniser.judge(variable) for variable in variables)
    return [finding for finding in found if finding is not None]


class _Recogniser:
    def __init__(self, known: Known) -> None:
        self._known = known
        self._fields: dict[str, tuple[str, str]] = {}
        self._address: dict[str, tuple[str, str]] = {}
        self._forms: dict[str, list[tuple[str, str]]] = {}
        for provider, one in known.items():
            for name, field in one.fields.items():
                for called in field.names:
                    self._fields.setdefault(called, (provider, name))
                if field.form is not None and field.form_alone:
                    self._forms.setdefault(field.form, []).append((provider, name))
            for name, part in one.variables.items():
                for called in part.names:
                    self._address.setdefault(called, (provider, name))

    def judge(self, variable: Variable) -> Finding | None:
        names = [normal_name(name) for name in variable.names]
        named = _first(names, self._fields)
        address = None if named else _first(names, self._address)
        if variable.value is None:
            return _without_value(variable, named or address, variable.absent, address is not None)
        text = variable.value.reveal().decode("utf-8", "replace")
        form = secret_form(text)
        said = known_variables().placeholder(text)
        if said is not None:
            return _without_value(variable, named or address, said, address is not None)
        if address is not None and form is None:
            return self._address_part(variable, address, text)
        if named is not None:
            return self._named(variable, named, text, form)
        return self._formed(variable, text, form)

    def _named(
        self, variable: Variable, named: tuple[str, str], text: str, form: str | None
    ) -> Finding:
        provider, part = named
        field = self._known[provider].fields[part]
        if field.accepts(text, form) and self._agrees(named, form):
            by: tuple[RecognisedBy, ...] = ("name", "form") if form else ("name",)
            return Finding(variable, provider, part, by, form, "usable")
        reason = f"it holds {form}" if form and form != field.form else f"it is not {field.looks}"
        return Finding(variable, provider, part, ("name",), form, "misfit", reason)

    def _agrees(self, named: tuple[str, str], form: str | None) -> bool:
        """Whether no other provider's form speaks against the name."""
        return form is None or form not in self._forms or named in self._forms[form]

    def _formed(self, variable: Variable, text: str, form: str | None) -> Finding | None:
        if form is None:
            return None
        for provider, part in self._forms.get(form, ()):
            if self._known[provider].fields[part].accepts(text, form):
                return Finding(variable, provider, part, ("form",), form, "usable")
        reason = "no preset says where it belongs"
        return Finding(variable, None, None, ("form",), form, "unplaced", reason)

    def _address_part(self, variable: Variable, address: tuple[str, str], text: str) -> Finding:
        provider, part = address
        usable = self._known[provider].variables[part].taken(text) is not None
        return Finding(
            variable,
            provider,
            part,
            ("name",),
            None,
            "usable" if usable else "misfit",
            "" if usable else f"it does not say the `{part}` of the provider's address",
            is_address=True,
        )


def _without_value(
    variable: Variable,
    named: tuple[str, str] | None,
    reason: str,
    is_address: bool,  # noqa: FBT001 - the finding's own
) -> Finding | None:
    if named is None:
        return None
    return Finding(
        variable, *named, ("name",), None, PLACEHOLDER, f"it is {reason}", is_address=is_address
    )


def _first(names: Iterable[str], known: Mapping[str, tuple[str, str]]) -> tuple[str, str] | None:
    return next((known[name] for name in names if name in known), None)
