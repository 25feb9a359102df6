"""Read the environment of a compose file's services: mapping, list and `env_file`.

The Compose Specification says how (`services`, `environment`, `env_file`, `x-…` fragments). An
`env_file` is followed below the compose file's folder alone, links followed, so that a file that
someone else wrote does not lead elsewhere on the machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tidegate.catalog.documents import read_bounded
from tidegate.catalog.errors import shown
from tidegate.catalog.yaml_source import YamlList, YamlMap, read_yaml
from tidegate.credentials.importing.environment import read_environment
from tidegate.credentials.importing.variables import BOUNDS, SOURCE_BYTES_MAX, Reading

ENV_FILES_MAX: Final = 32
FILLED_IN: Final = "a reference that compose fills in"


def read_compose(data: bytes, file: str, folder: Path | None, reading: Reading) -> None:
    """Take the variables of every service and fragment, then those of the files that they name."""
    source = read_yaml(data, file, BOUNDS)
    reading.note_errors(source)
    files: dict[str, int] = {}
    for part in _parts(source.root):
        _environment(part.get("environment"), file, reading)
        files |= dict(_env_files(part))
    for number, (name, line) in enumerate(files.items()):
        if number == ENV_FILES_MAX:
            reading.note(file, line, f"more than {ENV_FILES_MAX} files are named by `env_file`")
            break
        _follow(name, line, file, folder, reading)


def _parts(root: Any) -> Iterator[YamlMap]:
    """Services, and `x-…` fragments: of a fragment, its own entries may be an environment."""
    if not isinstance(root, YamlMap):
        return
    services = root.get("services")
    for service in services.values() if isinstance(services, YamlMap) else ():
        if isinstance(service, YamlMap):
            yield service
    for name, fragment in root.items():
        if name.startswith("x-") and isinstance(fragment, YamlMap | YamlList):
            whole = YamlMap(fragment.place)
            whole["environment"] = fragment
            yield whole
            if isinstance(fragment, YamlMap):
                yield fragment


def _environment(value: Any, file: str, reading: Reading) -> None:
    if isinstance(value, YamlMap):
        for name, given in value.items():
            if not isinstance(given, YamlMap | YamlList):
                _add(name, given, file, value.key_places[name].line, reading)
    elif isinstance(value, YamlList):
        for entry, place in zip(value, value.value_places, strict=True):
            if isinstance(entry, str):
                name, equals, given = entry.partition("=")
                _add(name, given if equals else None, file, place.line, reading)


def _add(name: str, value: Any, file: str, line: int, reading: Reading) -> None:
    """Compose fills in `$NAME` and `${NAME}` when it runs; `$$` is a dollar sign."""
    if isinstance(value, str):
        filled = "$" in value.replace("$$", "")
        value = value.replace("$$", "$")
        reading.add((name,), value, file, line, absent=FILLED_IN if filled else "")
    else:
        reading.add((name,), value, file, line)


def _env_files(part: YamlMap) -> Iterator[tuple[str, int]]:
    """The names of a service's files: a text, or a list of texts and of `path:` entries."""
    value = part.get("env_file")
    entries = list(value) if isinstance(value, YamlList) else [value]
    for entry in entries:
        path = entry.get("path") if isinstance(entry, YamlMap) else entry
        if isinstance(path, str):
            yield path, part.key_places["env_file"].line


def _follow(name: str, line: int, file: str, folder: Path | None, reading: Reading) -> None:
    if folder is None:
        reading.note(file, line, "`env_file` is not followed from standard input")
        return
    try:
        path = (folder / name).resolve()
        if not path.is_relative_to(folder.resolve()):
            reading.note(file, line, "`env_file` lies outside this folder: import it by itself")
            return
        data = read_bounded(path, SOURCE_BYTES_MAX)
    except (OSError, ValueError, RuntimeError):
        reading.note(file, line, f"`env_file` cannot be read: {shown(name)}")
        return
    read_environment(data, str(folder / name), reading)
