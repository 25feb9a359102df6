"""Make what a rule does with a field of what is declared."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path as FilePath

from tidegate.catalog.encrypting import encrypted
from tidegate.catalog.encrypting_form import EncryptDo
from tidegate.catalog.errors import shown
from tidegate.catalog.hash_profiles import KEYED, hash_profiles
from tidegate.catalog.protecting_form import (
    HashDo,
    HashEntry,
    RestoreEntry,
    TokeniseDo,
)
from tidegate.catalog.protection_form import FieldEntry, GeneraliseDo, MaskDo
from tidegate.catalog.selectors import read_selector
from tidegate.catalog.yaml_source import Path
from tidegate.domain.protection import (
    Action,
    Generalise,
    Hash,
    Mask,
    Plain,
    Restoration,
    Tokenise,
)

Wrong = Callable[[Path, str, str], None]


def action_of(field: FieldEntry, path: Path, folder: FilePath, wrong: Wrong) -> Action | None:
    """Make what a rule does; None where it cannot be made, which `wrong` is told."""
    match field.do:
        case str() as word:
            return Mask() if word == "mask" else Plain(word)
        case MaskDo(mask=keep):
            return Mask(keep)
        case GeneraliseDo(generalise=to):
            return Generalise(to) if isinstance(to, str) else Generalise("geo", to.geo)
        case HashDo(hash=of):
            return _hash(of)
        case TokeniseDo() as do:
            return _tokenise(do, field, path, wrong)
        case EncryptDo(encrypt=to):
            return encrypted(to, (*path, "encrypt"), folder, wrong)


def _tokenise(do: TokeniseDo, field: FieldEntry, path: Path, wrong: Wrong) -> Tokenise:
    restore_in = tuple(
        one
        for number, form in enumerate(do.restore_in)
        for one in _restorations(form, field, (*path, "restore_in", number), wrong)
    )
    return Tokenise(do.tokenise, do.field or field.at, do.root, restore_in, do.subject_key)


def _hash(form: str | HashEntry) -> Hash:
    entry = HashEntry(of=form) if isinstance(form, str) else form
    product, _, kind = entry.of.partition(".")
    return Hash(
        of=entry.of,
        steps=hash_profiles()[product].kinds[kind],
        already_hashed=entry.already_hashed == "allow",
        keyed=entry.root if product == KEYED else None,
        calling_code=entry.calling_code,
        international=entry.numbers == "international",
        field=entry.field or "",
    )


def _restorations(
    form: str | RestoreEntry, field: FieldEntry, path: Path, wrong: Wrong
) -> Iterable[Restoration]:
    if isinstance(form, RestoreEntry):
        operations, at = form.operations, form.at
    else:
        operations, at = [form], field.at
        if read_selector(at).kind != "body":
            message = f"{shown(at)} says no place in an answer"
            wrong(path, message, f"write `{{operations: [{form}], at: body $.…}}`")
    for text in operations:
        provider, pattern = split(text) if ":" in text else ("", text)
        yield Restoration(provider, pattern.strip(), at)


def split(text: str) -> tuple[str, str]:
    """`PROVIDER:OPERATION` in its two parts; the second is empty where there is no `:`."""
    provider, _, pattern = text.partition(":")
    return provider, pattern.strip()
