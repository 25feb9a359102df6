"""The forms of `schema` and `answers`: what requests and answers are held against."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, Field
from pydantic.functional_validators import model_validator

from tidegate.catalog.entry import Entry
from tidegate.catalog.errors import shown
from tidegate.catalog.fields import Size, refuse
from tidegate.domain.checking import BODY_MAX_BYTES

BODY_MAX_HARD = 10 * 1024**2
_MEDIA_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]+/(?:\*|[a-z0-9!#$&^_.+-]+)")
_PATHS_MAX = 256

Mode = Literal["off", "report", "enforce"]


def _media_type(text: str) -> str:
    if not _MEDIA_TYPE.fullmatch(text):
        refuse(
            f"{shown(text)} is no media type",
            "like `application/json` or `image/*`, in lower case and without parameters",
        )
    return text


def _json_path(text: str) -> str:
    if not text.startswith("$"):
        refuse(f"{shown(text)} is no JSONPath", "it begins with `$`: `$.data[*].id` (RFC 9535)")
    return text


MediaType = Annotated[str, AfterValidator(_media_type)]
JsonPath = Annotated[str, Field(max_length=1000), AfterValidator(_json_path)]


class SchemaRulesEntry(Entry):
    """What becomes of a request or an answer that does not fit the provider's document."""

    requests: Mode = "off"
    """Requests: not looked at, reported, or refused (`schema_violation`)."""
    responses: Mode = "off"
    """Answers, by status and media type: not looked at, reported, or refused (`response_rejected`)."""
    unknown: Literal["allow", "reject"] = "allow"
    """Query parameters that the document does not name: let through, or against the document."""
    body_max: Size = BODY_MAX_BYTES
    """The largest body that is looked into; a larger one does not fit."""

    @model_validator(mode="after")
    def _bounded(self) -> SchemaRulesEntry:
        if self.body_max > BODY_MAX_HARD:
            refuse("bodies that are looked into are held in memory", "10MiB is the most")
        return self


class SchemaEntry(SchemaRulesEntry):
    """What becomes of what does not fit the document, and what is different for some operations."""

    operations: dict[str, SchemaRulesEntry] = {}
    """Rules of single operations, by id or `METHOD /path` (with `*`); what they do not say holds as \
above, and of several that fit the first one counts."""


class AnswerRulesEntry(Entry):
    """What an answer may be and hold, whatever a document says of it."""

    mode: Mode = "enforce"
    """`report` changes and refuses nothing, and records what would be refused."""
    types: list[MediaType] = []
    """The media types that it may have; where absent, any, or those of the document."""
    html: Literal["allow", "escape", "refuse"] = "allow"
    """`<`, `>`, `&` and line separators in its JSON: left, written as `\\u003c` …, or refused where markup."""
    prototype: Literal["allow", "drop", "refuse"] = "allow"
    """`__proto__`, and `prototype` below `constructor`, as names in its JSON."""
    keep: list[JsonPath] = Field(default=[], max_length=_PATHS_MAX)
    """Of a successful answer's JSON, pass on these JSONPaths alone (RFC 9535)."""
    drop: list[JsonPath] = Field(default=[], max_length=_PATHS_MAX)
    """Of a successful answer's JSON, leave these JSONPaths out."""


class AnswersEntry(AnswerRulesEntry):
    """What answers may be and hold, and what is different for some operations."""

    operations: dict[str, AnswerRulesEntry] = {}
    """Rules of single operations, by id or `METHOD /path` (with `*`); what they do not say holds as \
above, and of several that fit the first one counts."""


def types_alone(value: Any) -> Any:
    """`answers: [application/json]` is short for its `types`."""
    return {"types": cast("list[Any]", value)} if isinstance(value, list) else value
