"""Check one file's form, entry by entry, and word what pydantic finds for the operator.

What is wrong is left out and the rest goes on, so that wrong references are reported in the same
run: of a grant or denial the wrong keys; the whole entry of anything else, and of a grant that is
nothing without the key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tidegate.catalog.errors import ConfigError, did_you_mean, listed, nearest, shown
from tidegate.catalog.fields import OWN_ERROR
from tidegate.catalog.kinds import kind
from tidegate.catalog.pasted_secrets import pasted_secret
from tidegate.catalog.protection_form import DoWord
from tidegate.catalog.schema import File, keys_known_at
from tidegate.catalog.yaml_source import Path, Source, YamlList, YamlMap

_SHOULD_BE = {
    "string_type": "a text",
    "int_type": "a whole number",
    "bool_type": "`true` or `false`",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}
_PLAIN = {
    "missing": "`{name}` is missing",
    "too_short": "this is empty; it needs at least one",
    "string_too_short": "this text is empty",
}
_LIST_SECTIONS = ("grants", "deny", "protection")


@dataclass(frozen=True, slots=True)
class Checked:
    """A file's sound entries, and where in the file those of its lists stood."""

    entries: File
    names: Mapping[str, frozenset[str]]
    """Every name a section declares, also those of entries that are wrong."""
    numbers: Mapping[str, tuple[int, ...]]
    errors: tuple[ConfigError, ...] = field(default=())


def check_form(source: Source, *, is_first: bool) -> Checked:
    """Check a file; only the first one needs a `version`."""
    errors = [*source.errors, *_secrets(source)]
    root: dict[str, Any] = source.root if isinstance(source.root, YamlMap) else {}
    if source.root is not None and not isinstance(source.root, YamlMap):
        errors.append(source.error((), f"the file is a mapping, not {kind(source.root)}"))
    elif not root and not source.errors:
        errors.append(source.error((), "the file is empty", "begin with `version: 1`"))
    content = dict(root) if is_first and root else {"version": 1, **root}
    names = {
        section: frozenset(cast("dict[str, Any]", value))
        for section, value in content.items()
        if isinstance(value, dict)
    }
    numbers: dict[str, Iterable[int]] = {
        section: range(len(value)) if isinstance(value := content.get(section), YamlList) else ()
        for section in _LIST_SECTIONS
    }
    try:
        entries = File.model_validate(content)
    except ValidationError as error:
        details = error.errors(include_url=False)
        errors += [worded(source, one) for one in details]
        entries, numbers = _sound(content, details)
    kept = {section: tuple(each) for section, each in numbers.items()}
    return Checked(entries, names, kept, tuple(errors))


def _secrets(source: Source) -> Iterable[ConfigError]:
    for place, text in source.texts():
        kind_of_secret = pasted_secret(text)
        if kind_of_secret is not None:
            yield ConfigError(
                source.file,
                *place,
                f"a secret does not belong in this file; this looks like {kind_of_secret}",
                "take it out, replace it at the provider, and enter the new one with `tidegate "
                "connect`",
            )


def _sound(
    content: dict[str, Any], details: list[ErrorDetails]
) -> tuple[File, dict[str, Iterable[int]]]:
    wrong: list[Path] = [one["loc"] for one in details]
    left, numbers = _without(content, wrong)
    try:
        return File.model_validate(left), numbers
    except ValidationError as error:
        # A grant that is nothing without a key it lost: its place in `left` is not that in the file.
        for one in error.errors(include_url=False, include_input=False):
            section, number = one["loc"][:2]
            is_item = isinstance(number, int)
            wrong.append((section, list(numbers[str(section)])[number] if is_item else number))
    left, numbers = _without(content, wrong)
    return File.model_validate(left), numbers


def _without(
    content: dict[str, Any], wrong: list[Path]
) -> tuple[dict[str, Any], dict[str, Iterable[int]]]:
    """Leave out the sections, entries and grants' keys that errors point at."""
    paths = {path[: 3 if path[0] in _LIST_SECTIONS else 2] for path in wrong}
    kept: dict[str, Any] = {"version": 1}
    numbers: dict[str, Iterable[int]] = {}
    for section, value in content.items():
        if (section,) in paths or section == "version":
            continue
        if isinstance(value, YamlMap):
            kept[section] = {key: one for key, one in value.items() if (section, key) not in paths}
        elif isinstance(value, YamlList):
            left = [
                (number, _without_keys(one, (section, number), paths))
                for number, one in enumerate(value)
                if (section, number) not in paths
            ]
            numbers[section] = [number for number, _ in left]
            kept[section] = [one for _, one in left]
    return kept, numbers


def _without_keys(entry: Any, path: Path, wrong: set[Path]) -> Any:
    if not isinstance(entry, YamlMap):
        return entry
    return {key: value for key, value in entry.items() if (*path, key) not in wrong}


def worded(
    source: Source,
    error: ErrorDetails,
    keys_at: Callable[[Path], Iterable[str]] = keys_known_at,
) -> ConfigError:
    """Put one of pydantic's errors in words, at its place; `keys_at` are the keys that may stand at one."""
    path: Path = error["loc"]
    if path[-1:] == ("[key]",):
        path = path[:-1]
        at_key = True
    else:
        at_key = error["type"] in {"extra_forbidden", "missing"}
    message, hint = _words(error, path, keys_at)
    return source.error(path, message, hint, key=at_key)


def _words(
    error: ErrorDetails, path: Path, keys_at: Callable[[Path], Iterable[str]]
) -> tuple[str, str]:
    kind_of_error, value = error["type"], error["input"]
    context: Mapping[str, Any] = error.get("ctx") or {}
    name = str(path[-1]) if path else ""
    words: tuple[str, str] = (error["msg"][:1].lower() + error["msg"][1:], "")
    if kind_of_error == OWN_ERROR:
        words = context["message"], context["hint"]
    elif kind_of_error in _PLAIN:
        words = _PLAIN[kind_of_error].format(name=name), ""
    elif kind_of_error == "extra_forbidden":
        known = keys_at(path[:-1])
        words = f"there is no key {shown(name)} here", did_you_mean(name, known)
    elif kind_of_error == "literal_error":
        words = _not_one_of(value, str(context.get("expected")))
    elif kind_of_error == "do_form":
        close = nearest(value, get_args(DoWord)) if isinstance(value, str) else None
        words = error["msg"], f"did you mean `{close}`?" if close else ""
    elif kind_of_error == "auth_form":
        close = nearest(value, ("bearer", "basic", "none")) if isinstance(value, str) else None
        words = error["msg"], f"did you mean `{close}`?" if close else ""
    elif kind_of_error in _SHOULD_BE:
        quote = kind_of_error == "string_type" and isinstance(value, int | float)
        message = f"{_SHOULD_BE[kind_of_error]} should stand here, not {kind(value)}"
        words = message, "write it in quotes" if quote else ""
    return words


def _not_one_of(value: object, expected: str) -> tuple[str, str]:
    choices = expected.replace("'", "").replace(" or ", ", ").split(", ")
    if choices == ["all"] and isinstance(value, str):
        return "this is a list of names, or `all`", f"write {shown(f'[{value}]')}"
    if len(choices) == 1:
        return f"this is `{choices[0]}`, and nothing else", ""
    close = nearest(value, choices) if isinstance(value, str) else None
    said = f", not {shown(value)}" if isinstance(value, str) else f", not {kind(value)}"
    return f"this is one of {listed(choices)}{said}", f"did you mean `{close}`?" if close else ""
