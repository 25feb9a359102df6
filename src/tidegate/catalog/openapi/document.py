"""Read an OpenAPI document, JSON or YAML, and follow references inside it.

A reference that leaves the document is refused: a description must not make us read files or call
hosts. JSON goes through the standard library's reader, which is fast enough for documents of many
megabytes; its positions are found again by looking for the key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, cast
from urllib.parse import unquote

from tidegate.catalog.errors import START, ConfigError, ConfigErrors, Place, shown
from tidegate.catalog.kinds import kind
from tidegate.catalog.yaml_source import DOCUMENT_BOUNDS, Path, Source, read_yaml

JSON_BYTES_MAX = 96 * 1024**2
REFERENCE_HOPS_MAX = 16
_WORDS_MAX = 200


@dataclass(frozen=True, slots=True)
class Document:
    """One document: OpenAPI 3, or Swagger 2."""

    file: str
    root: Mapping[str, Any]
    is_swagger: bool
    text: str
    source: Source | None

    def place(self, path: Path) -> Place:
        """Find where the value at a path stands."""
        if self.source is not None:
            return self.source.place(path, key=True)
        keys = [part for part in path if isinstance(part, str)]
        return _find_key(self.text, keys[-1]) if keys else START

    def error(self, path: Path, message: str, hint: str = "") -> ConfigError:
        """Place an error."""
        return ConfigError(self.file, *self.place(path), message, hint)

    def follow(self, value: Any, path: Path) -> Mapping[str, Any]:
        """Return the mapping that a value is or refers to.

        Raises:
            ConfigErrors: the reference leaves the document, leads nowhere or in a circle.
        """
        for _ in range(REFERENCE_HOPS_MAX):
            mapping = as_mapping(value)
            if mapping is None:
                self._refuse(path, f"a mapping should stand here, not {kind(value)}")
            reference = mapping.get("$ref")
            if not isinstance(reference, str):
                return mapping
            value = self.look_up(reference, path)
        return self._refuse(path, f"the reference leads on more than {REFERENCE_HOPS_MAX} times")

    def look_up(self, reference: str, path: Path) -> Any:
        """Return what a reference refers to, which may be another one.

        Raises:
            ConfigErrors: it leaves the document, or leads nowhere.
        """
        if not reference.startswith("#/"):
            self._refuse(
                path,
                f"the reference {shown(reference)} leaves the document",
                "bundle the document into one file first; nothing outside it is read",
            )
        value: Any = self.root
        for key in pointer_parts(reference):
            mapping, items = as_mapping(value), as_list(value)
            if mapping is not None and key in mapping:
                value = mapping[key]
            elif key.isdecimal() and int(key) < len(items):
                value = items[int(key)]
            else:
                self._refuse(path, f"the reference {shown(reference)} leads to nothing")
        return value

    def _refuse(self, path: Path, message: str, hint: str = "") -> NoReturn:
        raise ConfigErrors([self.error(path, message, hint)])


def read_document(data: bytes, file: str) -> Document:
    """Read a document's bytes; `file` is its name in errors.

    Raises:
        ConfigErrors: it is not a document, or not of a version that is read.
    """
    if data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        text, root, source = *_read_json(data, file), None
    else:
        source = read_yaml(data, file, DOCUMENT_BOUNDS)
        if source.errors:
            raise ConfigErrors(source.errors)
        text, root = "", source.root
    mapping = as_mapping(root)
    if mapping is None:
        raise ConfigErrors([ConfigError(file, *START, "this is not an OpenAPI document")])
    return Document(file, mapping, _is_swagger(mapping, file), text, source)


def pointer_parts(reference: str) -> list[str]:
    """The parts of a reference within the document: a JSON Pointer in a fragment (RFC 6901 §6)."""
    parts = reference.removeprefix("#/").split("/")
    return [unquote(part).replace("~1", "/").replace("~0", "~") for part in parts]


def as_mapping(value: Any) -> Mapping[str, Any] | None:
    """The value if it is a mapping."""
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else None


def as_list(value: Any) -> list[Any]:
    """The value if it is a list, else an empty one."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def as_text(value: Any) -> str:
    """One printable line of a text, cut to a bound; empty for anything else."""
    words = " ".join(value[: 4 * _WORDS_MAX].split()) if isinstance(value, str) else ""
    return "".join(c for c in words if c.isprintable())[:_WORDS_MAX]


def _read_json(data: bytes, file: str) -> tuple[str, Any]:
    if len(data) > JSON_BYTES_MAX:
        message = f"the document has {len(data):,} bytes; {JSON_BYTES_MAX:,} is the most"
        raise ConfigErrors([ConfigError(file, *START, message)])
    repeated: set[str] = set()

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        mapping = dict(pairs)
        if len(mapping) < len(pairs):
            keys = [key for key, _ in pairs]
            repeated.update(key for key in mapping if keys.count(key) > 1)
        return mapping

    place, text, root = START, "", None
    try:
        text = data.decode("utf-8-sig")
        root = json.loads(text, object_pairs_hook=unique, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        place, problem = Place(error.lineno, error.colno), f"this is not JSON: {error.msg}"
    except UnicodeDecodeError:
        problem = "the document is not UTF-8 text"
    except RecursionError:
        problem = "the document nests too deep"
    except ValueError:
        problem = "this is not JSON: a number in it is not one"
    else:
        if not repeated:
            return text, root
        key = min(repeated)
        place, problem = _find_key(text, key, last=True), f"the key {shown(key)} stands twice"
    raise ConfigErrors([ConfigError(file, *place, problem)])


def _no_constant(_: str) -> NoReturn:
    raise ValueError


def _is_swagger(root: Mapping[str, Any], file: str) -> bool:
    version = str(root.get("openapi") or root.get("swagger") or "")
    if "openapi" in root and re.fullmatch(r"3\.[01](\.\d+)?(-\w+)?", version):
        return False
    if "swagger" in root and re.fullmatch(r"2(\.0)?", version):
        return True
    said = f"it says {shown(version)}" if version else "it says none of these"
    message = f"OpenAPI 3.0, OpenAPI 3.1 and Swagger 2.0 documents are read; {said}"
    raise ConfigErrors([ConfigError(file, *START, message)])


def _find_key(text: str, key: str, *, last: bool = False) -> Place:
    quoted = re.escape(json.dumps(key, ensure_ascii=False))
    offsets = [found.start() for found in re.finditer(rf"{quoted}\s*:", text)]
    if not offsets:
        return START
    offset = offsets[-1 if last else 0]
    return Place(text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset))
