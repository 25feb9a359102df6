"""Read JSON that secrets were exported to: by Doppler, Infisical, 1Password, or by hand.

One walk knows the three shapes in which these name a value:

- `{"NAME": "value"}`, also below other keys (Vault's `data.data`, a plain object);
- `{"NAME": {"computed": "value", "raw": "value"}}` (Doppler);
- `{"key": "NAME", "value": "value"}` and its like (Infisical; 1Password's fields, whose item has a
  title that is put before the label).
"""

from __future__ import annotations

from typing import Any, Final

from tidegate.catalog.yaml_source import YamlList, YamlMap, read_yaml
from tidegate.credentials.importing.variables import BOUNDS, Reading

_NAME_KEYS: Final = ("secretKey", "key", "label", "name", "title")
_VALUE_KEYS: Final = ("secretValue", "value")
_WHOLE_KEYS: Final = ("computed", "raw")
_CONCEALED_KEYS: Final = ("concealed", "string", "email", "url", "creditCardNumber")


def read_export(data: bytes, file: str, reading: Reading) -> None:
    """Take every named text of the document."""
    # JSON is read as YAML, which it is a part of: that reader has the bounds and the lines.
    source = read_yaml(data, file, BOUNDS)
    reading.note_errors(source)
    _Walk(file, reading).take(source.root, "")


class _Walk:
    def __init__(self, file: str, reading: Reading) -> None:
        self._file = file
        self._reading = reading

    def take(self, value: Any, title: str) -> None:
        """Take what a value holds; `title` is that of the item around it."""
        if isinstance(value, YamlList):
            for entry in value:
                self.take(entry, title)
        elif isinstance(value, YamlMap):
            self._mapping(value, title)

    def _mapping(self, value: YamlMap, title: str) -> None:
        name = _text_of(value, _NAME_KEYS)
        key = next((key for key in _VALUE_KEYS if key in value), None)
        if name is not None and key is not None:
            self._add((name,), _unwrapped(value[key]), title, value.value_places[key].line)
            return
        inner = _text_of(value, ("title",)) or title
        for name, given in value.items():
            line = value.key_places[name].line
            whole = _text_of(given, _WHOLE_KEYS) if isinstance(given, YamlMap) else None
            if whole is not None:
                self._add((name,), whole, title, line)
            elif isinstance(given, YamlMap | YamlList):
                self.take(given, inner)
            else:
                self._add((name,), given, title, line)

    def _add(self, names: tuple[str, ...], value: Any, title: str, line: int) -> None:
        longer = (f"{title} {names[0]}",) if title else ()
        self._reading.add((*names, *longer), value, self._file, line)


def _text_of(value: YamlMap, keys: tuple[str, ...]) -> str | None:
    return next((value[key] for key in keys if isinstance(value.get(key), str)), None)


def _unwrapped(value: Any) -> Any:
    """1Password's archive keeps a value under the name of its kind: `{"concealed": "value"}`."""
    return _text_of(value, _CONCEALED_KEYS) if isinstance(value, YamlMap) else value
