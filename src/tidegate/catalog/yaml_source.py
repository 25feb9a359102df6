"""Read YAML or JSON into plain values that know where they stand.

First step of the catalog: bytes in, values out; nothing here knows what the values mean. It reads
the parser's events, so that every bound is checked before anything grows:

- scalars follow YAML 1.2's core schema: `no`, `on` and `12:30` are text, `010` is ten;
- keys are always text, as written: a client named `NO` or `123` stays what it is;
- duplicate keys, tags, merge keys, several documents and text that is not UTF-8 are errors;
- an alias counts as much as what it stands for, so that no expansion passes the bound.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from tidegate.catalog.errors import START, ConfigError, Place, shown

Path = tuple[str | int, ...]

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INT_DIGITS_MAX = 30
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {
    "true": True, "True": True, "TRUE": True,
    "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Bounds:
    """How large a file may be: bytes, values after aliases are expanded, and levels of nesting."""

    bytes_max: int
    values_max: int
    depth_max: int


CONFIG_BOUNDS = Bounds(bytes_max=8 * 1024**2, values_max=1_000_000, depth_max=64)
DOCUMENT_BOUNDS = Bounds(bytes_max=32 * 1024**2, values_max=5_000_000, depth_max=256)


class YamlMap(dict[str, Any]):
    """A mapping that knows where it, its keys and its values stand."""

    __slots__ = ("height", "key_places", "place", "size", "value_places")

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place
        self.key_places: dict[str, Place] = {}
        self.value_places: dict[str, Place] = {}
        self.size = 1
        self.height = 1


class YamlList(list[Any]):
    """A sequence that knows where it and its items stand."""

    __slots__ = ("height", "place", "size", "value_places")

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place
        self.value_places: list[Place] = []
        self.size = 1
        self.height = 1


@dataclass(frozen=True, slots=True)
class Source:
    """One file as read. `root` is what could be read of it; `errors` is what is wrong so far."""

    file: str
    root: Any
    errors: tuple[ConfigError, ...] = ()

    def place(self, path: Path, *, key: bool = False) -> Place:
        """Find where the value (or its key) at a path stands, or the last part of it that exists.

        Parts that name nothing are passed over: a validator's path may hold more than the file.
        """
        value, place = self.root, START
        for part in path:
            if isinstance(value, YamlMap) and isinstance(part, str) and part in value:
                place = (value.key_places if key else value.value_places)[part]
                value = value[part]
            elif isinstance(value, YamlList) and isinstance(part, int) and part < len(value):
                place = value.value_places[part]
                value = value[part]
        return place

    def error(self, path: Path, message: str, hint: str = "", *, key: bool = False) -> ConfigError:
        """Place an error."""
        return ConfigError(self.file, *self.place(path, key=key), message, hint)

    def texts(self) -> Iterator[tuple[Place, str]]:
        """Every key and text value, each once, with its place."""
        pending, seen = [self.root], set[int]()
        while pending:
            value = pending.pop()
            if id(value) in seen:
                continue
            if isinstance(value, YamlMap):
                seen.add(id(value))
                yield from ((value.key_places[key], key) for key in value)
                items = [(value.value_places[key], item) for key, item in value.items()]
            elif isinstance(value, YamlList):
                seen.add(id(value))
                items = list(zip(value.value_places, value, strict=True))
            else:
                continue
            yield from ((place, item) for place, item in items if isinstance(item, str))
            pending += [item for _, item in items]


def read_yaml(data: bytes, file: str, bounds: Bounds = CONFIG_BOUNDS) -> Source:
    """Read one file. Never raises for what the bytes hold: what is wrong is in `Source.errors`."""
    if len(data) > bounds.bytes_max:
        message = f"the file has {len(data):,} bytes; {bounds.bytes_max:,} is the most"
        return Source(file, None, (ConfigError(file, *START, message),))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        place = Place(before.count(b"\n") + 1, error.start - before.rfind(b"\n"))
        return Source(file, None, (ConfigError(file, *place, "the file is not UTF-8 text"),))
    builder = _Builder(file, bounds)
    try:
        for event in yaml.parse(text, Loader=_Loader):
            builder.take(event)
    except _StopReading:
        pass
    except yaml.reader.ReaderError as error:
        builder.wrong(_place_of(text, error.position), "a control character stands here")
    except yaml.MarkedYAMLError as error:
        place = _place_at(error.problem_mark or error.context_mark)
        if _stands_at(text, place) == "\t":
            builder.wrong(place, "a tab stands here", "YAML is indented with spaces")
        else:
            builder.wrong(place, f"this is not YAML: {_syntax_problem(error)}")
    return Source(file, builder.root, tuple(builder.errors))


class _StopReading(Exception):  # noqa: N818 (it ends the reading; the error is in the list)
    pass


@dataclass(slots=True)
class _Open:
    """A collection that is being read."""

    value: YamlMap | YamlList
    anchor: str | None
    count_before: int
    key: str | None = None
    key_place: Place = START
    left_out: bool = False


@dataclass(slots=True)
class _Builder:
    file: str
    bounds: Bounds
    root: Any = None
    errors: list[ConfigError] = field(default_factory=list[ConfigError])
    open: list[_Open] = field(default_factory=list[_Open])
    anchors: dict[str, Any] = field(default_factory=dict[str, Any])
    count: int = 0
    documents: int = 0

    def take(self, event: yaml.Event) -> None:
        place = _place_at(event.start_mark)
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event, place)
        elif isinstance(event, yaml.MappingStartEvent):
            self._start(YamlMap(place), event, place)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._start(YamlList(place), event, place)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._end()
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event.anchor or "", place)
        elif isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                self._stop(place, "a second document starts here; a file holds one")

    def wrong(self, place: Place, message: str, hint: str = "") -> None:
        self.errors.append(ConfigError(self.file, *place, message, hint))

    def _stop(self, place: Place, message: str, hint: str = "") -> None:
        self.wrong(place, message, hint)
        raise _StopReading

    def _scalar(self, event: yaml.ScalarEvent, place: Place) -> None:
        self._refuse_tag(event.tag, place)
        if self._awaits_key():
            self._key(event, place)
            return
        plain = event.implicit[0] and event.tag is None
        value = self._plain(event.value, place) if plain else event.value
        self._grow(1, place)
        if event.anchor is not None:
            self.anchors[event.anchor] = value
        self._add(value, place, height=0)

    def _key(self, event: yaml.ScalarEvent, place: Place) -> None:
        frame = self.open[-1]
        key: str = event.value
        frame.left_out = key in frame.value
        if key == "<<" and event.implicit[0]:
            self.wrong(place, "merge keys (`<<`) are not read", "write the keys out")
            frame.left_out = True
        elif frame.left_out and isinstance(frame.value, YamlMap):
            first = frame.value.key_places[key]
            self.wrong(
                place,
                f"the key {shown(key)} stands here a second time",
                f"the first is on line {first.line}; keep one of them",
            )
        frame.key, frame.key_place = key, place

    def _start(self, value: YamlMap | YamlList, event: yaml.NodeEvent, place: Place) -> None:
        self._refuse_tag(getattr(event, "tag", None), place)
        if self._awaits_key():
            self._stop(place, "a key is a single text, not a list or mapping")
        if len(self.open) >= self.bounds.depth_max:
            self._stop(place, f"this nests deeper than {self.bounds.depth_max} levels")
        self._grow(1, place)
        self.open.append(_Open(value, event.anchor, self.count - 1))

    def _end(self) -> None:
        frame = self.open.pop()
        value = frame.value
        value.size = self.count - frame.count_before
        if frame.anchor is not None:
            self.anchors[frame.anchor] = value
        self._add(value, value.place, value.height)

    def _alias(self, anchor: str, place: Place) -> None:
        if self._awaits_key():
            self._stop(place, "an alias cannot be a key")
        if anchor not in self.anchors:
            self._stop(
                place,
                f"the alias {shown(f'*{anchor}')} names nothing that stands complete before it",
            )
        value = self.anchors[anchor]
        size, height = (
            (value.size, value.height) if isinstance(value, YamlMap | YamlList) else (1, 0)
        )
        self._grow(size, place)
        if len(self.open) + height > self.bounds.depth_max:
            self._stop(place, f"this alias nests deeper than {self.bounds.depth_max} levels")
        self._add(value, place, height)

    def _grow(self, size: int, place: Place) -> None:
        self.count += size
        if self.count > self.bounds.values_max:
            self._stop(place, f"the file expands to more than {self.bounds.values_max:,} values")

    def _awaits_key(self) -> bool:
        return (
            bool(self.open)
            and isinstance(self.open[-1].value, YamlMap)
            and (self.open[-1].key is None)
        )

    def _add(self, value: Any, place: Place, height: int) -> None:
        if not self.open:
            self.root = value
            return
        frame = self.open[-1]
        frame.value.height = max(frame.value.height, height + 1)
        if isinstance(frame.value, YamlList):
            frame.value.append(value)
            frame.value.value_places.append(place)
            return
        key = frame.key if frame.key is not None else ""
        if not frame.left_out:
            frame.value[key] = value
            frame.value.key_places[key] = frame.key_place
            frame.value.value_places[key] = place
        frame.key, frame.left_out = None, False

    def _refuse_tag(self, tag: str | None, place: Place) -> None:
        if tag is not None and tag != "tag:yaml.org,2002:str":
            self.wrong(place, "YAML tags are not read here", "remove the `!…` before the value")

    def _plain(self, text: str, place: Place) -> str | float | bool | None:
        if text in _NULL:
            return None
        if text in _BOOL:
            return _BOOL[text]
        if _INT.fullmatch(text):
            if len(text) > _INT_DIGITS_MAX:
                self.wrong(place, "this number is too long", "write it in quotes if it is a text")
                return 0
            return int(text)
        return float(text) if _FLOAT.fullmatch(text) else text


def _place_at(mark: Any) -> Place:
    return START if mark is None else Place(mark.line + 1, mark.column + 1)


def _place_of(text: str, offset: int) -> Place:
    before = text[:offset]
    return Place(before.count("\n") + 1, offset - before.rfind("\n"))


def _stands_at(text: str, place: Place) -> str:
    lines = text.split("\n")
    line = lines[place.line - 1] if place.line <= len(lines) else ""
    return line[place.column - 1 : place.column]


def _syntax_problem(error: yaml.MarkedYAMLError) -> str:
    """What the parser says, without what it quotes from the file."""
    problem = (error.problem or "it cannot be read").split(", but found")[0]
    context = f" {error.context}" if error.context else ""
    return re.sub(r"[^\x20-\x7e]", "", f"{problem}{context}")
