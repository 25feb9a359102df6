"""Draft policies for operations that have none: of what their calls were seen to send, and of documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from tidegate.app.protecting import Protected, protected
from tidegate.app.services import fetching
from tidegate.catalog import OperationTable
from tidegate.catalog.declared_places import declared_places
from tidegate.catalog.openapi.places import DeclaredPlace
from tidegate.domain.declaration import Declaration, Provider
from tidegate.domain.shape import Shape
from tidegate.privacy.draft import Sends, draft, is_known
from tidegate.store import Store


class NothingToDraftError(ValueError):
    """There is no such operation, it has a policy, or nothing is known of it; `hint` says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Draft:
    """Policies as YAML, and of which operations; `unknown` are those of which nothing is known."""

    text: str
    operations: tuple[str, ...]
    unknown: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Target:
    """A provider and, where one was named, a pattern of its operations."""

    provider: Provider
    pattern: str

    @property
    def numbers(self) -> frozenset[int]:
        """The operations that are meant."""
        pattern = self.pattern or "*"
        return frozenset(OperationTable(self.provider.operations).matching(pattern))

    @property
    def ids(self) -> frozenset[str]:
        """Their ids."""
        return frozenset(self.provider.operations[number].id for number in self.numbers)


def target_of(declaration: Declaration, text: str) -> Target:
    """Read `PROVIDER` or `PROVIDER:OPERATION`.

    Raises:
        NothingToDraftError: there is no such operation.
    """
    name, _, pattern = text.partition(":")
    provider = next((one for one in declaration.providers if one.name == name), None)
    if provider is None:
        raise NothingToDraftError(
            f"there is no provider `{name}`", "`tidegate providers` lists them"
        )
    target = Target(provider, pattern.strip())
    if not target.numbers:
        raise NothingToDraftError(
            f"no operation is called `{pattern.strip()}`",
            f"`tidegate operations {name}` lists them",
        )
    return target


def suggested(
    declaration: Declaration,
    file: Path | None,
    store: Store,
    target: Target,
    today: date,
    *,
    client: str | None = None,
    purpose: str | None = None,
) -> Draft:
    """Draft policies for the operations that are meant, are granted to somebody and have no policy.

    `file` declares the provider; without it nothing is known of the provider's document.

    Raises:
        NothingToDraftError: there is none of which anything is known.
        ConfigErrors: the document is wrong where it describes one of them.
        OSError: the document cannot be read, with the reason.
    """
    provider = target.provider
    open_ones = _open_ones(declaration, target)
    numbers = {number for number, _ in open_ones}
    documents: Mapping[int, tuple[DeclaredPlace, ...]] = {}
    if file is not None:
        with fetching() as fetch:
            documents = declared_places(file, provider, numbers, fetch)
    shapes: dict[str, list[Shape]] = {}
    for shape in store.shapes.of(provider.name, client=client):
        shapes.setdefault(shape.operation, []).append(shape)
    all_of_it = [
        Sends(one.operation.id, shapes.get(one.operation.id, ()), documents.get(number))
        for number, one in open_ones
    ]
    known = [one for one in all_of_it if is_known(one)]
    if not known:
        raise NothingToDraftError(
            "nothing is known of what would go out",
            f"`observe: true` at `providers.{provider.name}` learns it from calls, and `openapi` names "
            "a document that declares it",
        )
    return Draft(
        text=draft(provider.name, known, today, purpose),
        operations=tuple(one.operation for one in known),
        unknown=tuple(one.operation for one in all_of_it if not is_known(one)),
    )


def _open_ones(declaration: Declaration, target: Target) -> Sequence[tuple[int, Protected]]:
    numbers = target.numbers
    meant = [
        (number, one)
        for number, one in enumerate(protected(declaration, target.provider.name))
        if number in numbers
    ]
    open_ones = [(number, one) for number, one in meant if one.policy is None]
    if not open_ones:
        raise NothingToDraftError(
            "each of these operations has a policy already",
            f"`tidegate protect list {target.provider.name}` shows them",
        )
    # A document may have thousands of operations that nobody calls.
    granted = [(number, one) for number, one in open_ones if one.granted]
    return granted or open_ones
