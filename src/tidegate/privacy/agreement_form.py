"""Read an agreement's file: its form as pydantic models, its mistakes with file, line and a hint.

The signed document is hashed where it lies and stays there: only its SHA-256 is recorded.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from tidegate.catalog.entry import Entry
from tidegate.catalog.errors import START, ConfigError, ConfigErrors, did_you_mean, shown
from tidegate.catalog.fields import Date, Name, Region, refuse
from tidegate.catalog.protection_form import Category
from tidegate.catalog.validate import worded
from tidegate.catalog.yaml_source import CONFIG_BOUNDS, Source, YamlMap, read_yaml
from tidegate.catalog.yaml_source import Path as Place
from tidegate.domain.agreement import (
    ALL,
    Agreement,
    Kind,
    Role,
    Subprocessor,
    Transfer,
    TransferTool,
)
from tidegate.domain.declaration import Declaration
from tidegate.privacy.errors import PrivacyRefused

DOCUMENT_BYTES_MAX: Final = 256 * 1024 * 1024
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_TEXT_MAX: Final = 2_000


def _instant(value: Any) -> Any:
    """A day means its first instant in UTC; a time has its zone."""
    if isinstance(value, str) and "T" in value:
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            refuse("this is not a time", "like `2027-01-31T12:00:00Z`")
        if at.tzinfo is None:
            refuse("a time needs its zone", "like `2027-01-31T12:00:00Z`")
        return at.astimezone(UTC).replace(microsecond=0)
    try:
        return datetime.combine(date.fromisoformat(str(value)), time.min, UTC)
    except ValueError:
        refuse("this is not a date", "like `2027-01-31`, or `2027-01-31T12:00:00Z`")


def _words(text: str) -> str:
    if len(text) > _TEXT_MAX or not text.isprintable():
        refuse(f"this text is printable, and has {_TEXT_MAX:,} characters at most")
    return text


Instant = Annotated[datetime, BeforeValidator(_instant)]
Words = Annotated[str, AfterValidator(_words)]


class TransferEntry(Entry):
    """By what data may go to a third country."""

    tool: TransferTool
    assessment: Words = ""


class SubprocessorEntry(Entry):
    """Whom the provider employs."""

    name: Words
    region: Region
    reviewed: Date


class AgreementEntry(Entry):
    """One agreement."""

    name: Name
    kind: Kind
    provider: Name
    clients: Annotated[list[Name], Field(min_length=1)] | Literal["all"]
    parties: list[Words] = Field(min_length=2)
    role: Role
    categories: list[Category] = Field(min_length=1)
    subjects: list[Words] = []
    purposes: list[Category] = Field(min_length=1)
    regions: list[Region] = Field(min_length=1)
    transfer: TransferEntry | None = None
    subprocessors: list[SubprocessorEntry] = []
    retention: Words = ""
    breach_contact: Words = ""
    document: Words
    starts: Instant = Field(alias="from")
    ends: Instant | None = Field(default=None, alias="until")


def read_agreement(file: Path, declaration: Declaration) -> Agreement:
    """Read one agreement from a YAML file, and hash the document that it names.

    Raises:
        ConfigErrors: everything that is wrong with it.
    """
    try:
        with file.open("rb") as stream:
            data = stream.read(CONFIG_BOUNDS.bytes_max + 1)
    except OSError as error:
        message = f"the file cannot be read: {error.strerror or type(error).__name__}"
        raise ConfigErrors([ConfigError(str(file), *START, message)]) from None
    source = read_yaml(data, str(file))
    root: Any = source.root if isinstance(source.root, YamlMap) else {}
    try:
        entry = AgreementEntry.model_validate(root)
    except ValidationError as error:
        wrong = [worded(source, one, _keys_at) for one in error.errors(include_url=False)]
        raise ConfigErrors([*source.errors, *wrong]) from None
    document, errors = _digest_of(source, file.parent, entry.document)
    errors = [*source.errors, *errors, *_unknown(source, entry, declaration)]
    errors += _at_odds(source, entry)
    if errors:
        raise ConfigErrors(errors)
    return _agreement(entry, document)


def _at_odds(source: Source, entry: AgreementEntry) -> Iterable[ConfigError]:
    if entry.ends is not None and entry.ends <= entry.starts:
        yield source.error(("until",), "it ends before it begins")
    transfer = entry.transfer
    if entry.kind == "scc" and (transfer is None or transfer.tool != "scc"):
        hint = "write `transfer: {tool: scc, assessment: …}`"
        yield source.error(("kind",), "standard contractual clauses are a transfer's tool", hint)
    if transfer is not None and transfer.tool != "adequacy" and not transfer.assessment:
        # CJEU C-311/18: whoever relies on Art. 46 assesses the law of where the data goes.
        hint = "name the transfer impact assessment: its number, or where it is filed"
        yield source.error(("transfer",), f"`{transfer.tool}` needs an `assessment`", hint)


def _keys_at(path: Place) -> Iterable[str]:
    forms: dict[tuple[str, ...], type[Entry]] = {
        (): AgreementEntry,
        ("transfer",): TransferEntry,
        ("subprocessors",): SubprocessorEntry,
    }
    form = forms.get(tuple(part for part in path if isinstance(part, str)), Entry)
    return [field.alias or name for name, field in form.model_fields.items()]


def require_declared(declaration: Declaration, provider: str, client: str) -> None:
    """Refuse names that are not declared.

    Raises:
        PrivacyRefused: with the nearest one that is.
    """
    known = (
        ("provider", provider, [one.name for one in declaration.providers]),
        ("client", client, [one.name for one in declaration.clients]),
    )
    for kind, name, names in known:
        if name not in names:
            raise PrivacyRefused(f"there is no {kind} {shown(name)}", did_you_mean(name, names))


def _unknown(
    source: Source, entry: AgreementEntry, declaration: Declaration
) -> Iterable[ConfigError]:
    providers = [one.name for one in declaration.providers]
    if entry.provider not in providers:
        message = f"there is no provider {shown(entry.provider)}"
        yield source.error(("provider",), message, did_you_mean(entry.provider, providers))
    clients = [one.name for one in declaration.clients]
    named = entry.clients if isinstance(entry.clients, list) else ()
    for number, client in enumerate(named):
        if client not in clients:
            message = f"there is no client {shown(client)}"
            yield source.error(("clients", number), message, did_you_mean(client, clients))


def _digest_of(source: Source, folder: Path, named: str) -> tuple[str, list[ConfigError]]:
    """The digest that stands there, or that of the file that is named."""
    if named.startswith("sha256:"):
        if _DIGEST.fullmatch(named):
            return named.removeprefix("sha256:"), []
        return "", [source.error(("document",), "a digest is `sha256:` and 64 hexadecimal digits")]
    try:
        return _hashed(folder / named), []
    except OSError as error:
        reason = error.strerror or type(error).__name__
        hint = "name the signed file, beside this one, or write its digest: `sha256:…`"
        return "", [source.error(("document",), f"the document cannot be read: {reason}", hint)]


def _hashed(file: Path) -> str:
    if file.exists() and not file.is_file():
        raise OSError(0, "it is not a regular file")
    digest, left = hashlib.sha256(), DOCUMENT_BYTES_MAX
    with file.open("rb") as stream:
        while piece := stream.read(1024 * 1024):
            left -= len(piece)
            digest.update(piece)
            if left < 0:
                raise OSError(0, "it is larger than 256 MiB")
    return digest.hexdigest()


def _agreement(entry: AgreementEntry, document: str) -> Agreement:
    transfer = entry.transfer
    return Agreement(
        name=entry.name,
        kind=entry.kind,
        provider=entry.provider,
        clients=tuple(dict.fromkeys(entry.clients)) if isinstance(entry.clients, list) else (ALL,),
        parties=tuple(entry.parties),
        role=entry.role,
        categories=tuple(dict.fromkeys(entry.categories)),
        purposes=tuple(dict.fromkeys(entry.purposes)),
        regions=tuple(dict.fromkeys(entry.regions)),
        document=document,
        starts=entry.starts,
        ends=entry.ends,
        subjects=tuple(entry.subjects),
        transfer=None if transfer is None else Transfer(transfer.tool, transfer.assessment),
        subprocessors=tuple(
            Subprocessor(one.name, one.region, one.reviewed) for one in entry.subprocessors
        ),
        retention=entry.retention,
        breach_contact=entry.breach_contact,
    )
