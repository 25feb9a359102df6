"""Make a rotation of what is declared of it and of the preset, and hold it to what can be done."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from tidegate.catalog.errors import listed, shown
from tidegate.catalog.fields import parse_call
from tidegate.catalog.rotation_form import (
    AdminEntry,
    CreateEntry,
    HookEntry,
    RotationEntry,
)
from tidegate.catalog.schema import ProviderEntry
from tidegate.catalog.yaml_source import Path
from tidegate.domain.rotation import (
    CreateHook,
    Hook,
    Identify,
    JsonText,
    LastUsedHook,
    ListHook,
    NewField,
    OverlapClass,
    Parameter,
    ParameterValue,
    Rotation,
)

SELF: Final = "self"
_PLACEHOLDER: Final = re.compile(r"\{([a-z][a-z0-9_]{0,31})\}")
_KEY_HOOKS: Final = ("create", "keys", "deactivate", "delete", "last_used")
_LIFETIME: Final = frozenset({"expires_on", "expires_at", "lifetime_s"})
_TWO_SLOTS: Final = 2

Wrong = Callable[..., None]


def over_preset(declared: RotationEntry, preset: RotationEntry) -> RotationEntry:
    """The operator's entry laid over the preset's: what is said replaces, the rest stays."""
    said: dict[str, Any] = {name: getattr(declared, name) for name in declared.model_fields_set}
    return preset.model_copy(update=said)


def rotation_of(  # noqa: PLR0917 - what a provider is made of
    entry: ProviderEntry,
    declared: ProviderEntry,
    preset: ProviderEntry | None,
    origins: tuple[str, ...],
    fields: tuple[str, ...],
    wrong: Wrong,
) -> Rotation:
    """Make the rotation; `fields` are the credential's, `wrong` is told what is wrong and where."""
    return _Builder(entry, declared, preset, origins, fields, wrong).build()


@dataclass(slots=True)
class _Builder:
    provider: ProviderEntry
    declared: ProviderEntry
    preset: ProviderEntry | None
    origins: tuple[str, ...]
    fields: tuple[str, ...]
    wrong: Wrong

    def build(self) -> Rotation:
        entry = self.provider.rotation
        by, by_provider = _admin(entry)
        self._check(entry, by_provider)
        create = entry.create
        return Rotation(
            overlap_class=OverlapClass(entry.overlap_class),
            by=by,
            by_provider=by_provider,
            create=None
            if create is None
            else CreateHook(self._hook("create", create), _new_fields(create), create.id or ""),
            list=self._keys(entry),
            deactivate=self._maybe("deactivate", entry.deactivate),
            delete=self._maybe("delete", entry.delete),
            test=self._maybe("test", entry.test),
            last_used=None
            if entry.last_used is None
            else LastUsedHook(self._hook("last_used", entry.last_used), entry.last_used.at),
            identify=self._identify(entry),
            id_pattern=entry.id_pattern,
            parameters=tuple(self._parameters(entry)),
            keys_max=_TWO_SLOTS
            if entry.overlap_class == "B" and entry.keys_max is None
            else entry.keys_max,
            overlap_ms=entry.overlap,
            propagation_ms=entry.propagation,
            lifetime_ms=entry.lifetime,
            max_age_ms=entry.max_age,
            rotate_every_ms=entry.rotate_every,
            steps=tuple(entry.steps),
            revoke_steps=tuple(entry.revoke_steps),
            console=entry.console,
        )

    def _keys(self, entry: RotationEntry) -> ListHook | None:
        keys = entry.keys
        if keys is None:
            return None
        return ListHook(
            self._hook("keys", keys),
            keys.items or "",
            keys.id,
            name_at=keys.name or "",
            created_at=keys.created or "",
            last_used_at=keys.last_used or "",
            suffix_at=keys.suffix or "",
            next_at=keys.next or "",
            next_as=keys.next_as,
            page_as=keys.page_as,
            page_from=keys.page_from,
        )

    def _identify(self, entry: RotationEntry) -> Identify | None:
        how = entry.identify
        if how is None:
            return None
        hook = None if how.call is None else self._hook("identify", HookEntry(call=how.call))
        return Identify(how.field or "", how.pattern, hook, how.id or "", how.only)

    def _maybe(self, key: str, entry: HookEntry | None) -> Hook | None:
        return None if entry is None else self._hook(key, entry)

    def _hook(self, key: str, entry: HookEntry) -> Hook:
        """A request as it is made; its path is below the base path of whoever wrote it."""
        call = parse_call(entry.call)
        elsewhere = key in _KEY_HOOKS and isinstance(self.provider.rotation.by, AdminEntry)
        number = 0
        if call.origin is not None:
            if call.origin in self.origins and not elsewhere:
                number = self.origins.index(call.origin)
            else:
                # A preset's further origins may be replaced by one for all.
                preset = self.preset.origins if self.preset and not self._is_mine(key) else []
                if call.origin not in preset or elsewhere:
                    message = f"`{call.origin}` is no origin of the provider it is sent to"
                    self._wrong(key, "call", message)
        base = (self.declared if self._is_mine(key) else self.preset or self.declared).base_path
        path = call.path if elsewhere or call.origin is not None else (base or "") + call.path
        self._check_placeholders(key, entry)
        return Hook(
            call.method,
            path,
            number,
            tuple(entry.query.items()),
            tuple(entry.headers.items()),
            None if entry.body is None else json.dumps(entry.body),
            "form" if entry.form else "json",
            "xml" if entry.xml else "json",
        )

    def _is_mine(self, key: str) -> bool:
        return key in self.declared.rotation.model_fields_set

    def _check_placeholders(self, key: str, entry: HookEntry) -> None:
        known = set(self.provider.rotation.parameters) | _own_placeholders(key)
        if self.provider.rotation.lifetime is None:
            known -= _LIFETIME
        path = parse_call(entry.call).path
        places: list[tuple[str, str]] = [("call", path)]
        places += [("query", text) for text in entry.query.values()]
        places += [("body", text) for text in _texts(entry.body)]
        for place, text in places:
            self._check_fitting(place, text)
            strange = [name for name in _PLACEHOLDER.findall(text) if name not in known]
            if strange:
                hint = f"there are {listed(sorted(known))}" if known else "this request has none"
                message = f"{shown('{' + strange[0] + '}')} is no placeholder here"
                self._wrong(key, place, message, f"{hint}; others are declared by `parameters`")
            elif set(_PLACEHOLDER.sub("", text)) & {"{", "}"}:
                message = "its braces do not make a placeholder"
                self._wrong(key, place, message, "a placeholder is `{name}`, in lower case")
        if entry.body is not None and parse_call(entry.call).method in {"GET", "HEAD"}:
            self._wrong(key, "body", "a `GET` has no body", "use `query`")

    def _check_fitting(self, place: str, text: str) -> None:
        """A mapping, or a list with more in it than texts, has no form outside of a JSON body."""
        entry = self.provider.rotation
        whole = _PLACEHOLDER.fullmatch(text) if place == "body" else None
        for name in _PLACEHOLDER.findall(text):
            for path, values in _given(entry):
                if name in values and isinstance(_value(values[name]), JsonText) and not whole:
                    message = f"`{name}` stands where only a text can stand"
                    self.wrong(("rotation", *path, name), message, "give a text, or a list of them")

    def _check(self, entry: RotationEntry, by_provider: str) -> None:
        if entry.overlap_class == "D":
            if entry.rotate_every is not None:
                message = "class D is done by a person, so nothing can be done every so often"
                self._wrong("rotate_every", None, message, "`max_age` tells when it is time")
            return
        if entry.create is None:
            self._wrong(None, None, f"class {entry.overlap_class} needs `create`")
        elif strange := [name for name in entry.create.fields if name not in self.fields]:
            message = f"the credential has no field {listed(strange)}"
            self._wrong("create", "fields", message, f"it has {listed(self.fields)}")
        issues = any(
            not isinstance(form, str) and hasattr(form, "oauth2") for form in self.provider.auth
        )
        if entry.test is None and not issues:
            hint = "a call that changes nothing, to try a new key with"
            self._wrong(None, None, "`test` is missing", hint)
        if entry.by is None:
            hint = "the connection whose key may manage keys, or `self`"
            self._wrong(None, None, "`by` is missing", hint)
        self._check_names(entry)
        self._check_values(entry)
        if by_provider and entry.overlap_class == "C":
            self._wrong("by", None, "a key that is replaced in place is replaced by itself")
        if entry.lifetime is not None and (entry.rotate_every or 0) >= entry.lifetime:
            message = "keys would expire before they are replaced"
            self._wrong("rotate_every", None, message, "make it shorter than `lifetime`")

    def _check_names(self, entry: RotationEntry) -> None:
        create, keys = entry.create, entry.keys
        named = create is not None and any(
            "{name}" in text for text in (*_texts(create.body), *create.query.values(), create.call)
        )
        if keys is not None and keys.name and not named and entry.overlap_class != "C":
            message = "the new key does not get the name by which it would be found again"
            self._wrong("create", "body", message, "put `{name}` where the key's name belongs")
        how = entry.identify
        if how is not None and how.field is not None and how.field not in self.fields:
            message = f"the credential has no field {shown(how.field)}"
            self._wrong("identify", "field", message, f"it has {listed(self.fields)}")

    def _check_values(self, entry: RotationEntry) -> None:
        for path, names in _given(entry):
            for name in names:
                if name not in entry.parameters:
                    hint = f"there are {listed(entry.parameters)}" if entry.parameters else ""
                    whole = ("rotation", *path, name)
                    self.wrong(
                        whole, f"{shown(name)} is no parameter of this rotation", hint, key=True
                    )
        if entry.rotate_every is not None:
            missing = [name for name in entry.parameters if name not in entry.values]
            if missing and not entry.values_of:
                hint = "; ".join(f"`{name}`: {entry.parameters[name]}" for name in missing)
                self._wrong("values", None, f"`rotate_every` needs {listed(missing)}", hint)

    def _parameters(self, entry: RotationEntry) -> Iterable[Parameter]:
        for name, description in entry.parameters.items():
            special = tuple(
                (client, _value(values[name]))
                for client, values in entry.values_of.items()
                if name in values
            )
            common = entry.values.get(name)
            yield Parameter(name, description, None if common is None else _value(common), special)

    def _wrong(self, key: str | None, inner: str | None, message: str, hint: str = "") -> None:
        path = ("rotation", *(part for part in (key, inner) if part is not None))
        self.wrong(path, message, hint)


def _admin(entry: RotationEntry) -> tuple[str, str]:
    if isinstance(entry.by, AdminEntry):
        return entry.by.connection, entry.by.provider
    return ("" if entry.by in {None, SELF} else str(entry.by)), ""


def _own_placeholders(key: str) -> set[str]:
    if key == "create":
        return {"name", "old_id", *_LIFETIME}
    return {"id"} if key in {"deactivate", "delete", "last_used"} else set()


def _new_fields(create: CreateEntry) -> tuple[NewField, ...]:
    return tuple(
        NewField(name, where)
        if isinstance(where, str)
        else NewField(name, where.at, where.decode, where.inside or "")
        for name, where in create.fields.items()
    )


def _given(entry: RotationEntry) -> Iterable[tuple[Path, Mapping[str, Any]]]:
    """The parameters' values, those for all and single clients' own, with where they stand."""
    yield ("values",), entry.values
    for client, values in entry.values_of.items():
        yield ("values_of", client), values


def _value(value: Any) -> ParameterValue:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(one, str) for one in cast("list[Any]", value)):
        return tuple(cast("list[str]", value))
    return JsonText(json.dumps(value))


def _texts(part: Any) -> Iterable[str]:
    """Every text in a body, however deep; its keys are no places for placeholders."""
    if isinstance(part, str):
        yield part
    elif isinstance(part, dict):
        for inner in cast("Mapping[str, Any]", part).values():
            yield from _texts(inner)
    elif isinstance(part, list):
        for inner in cast("list[Any]", part):
            yield from _texts(inner)
