"""Find credentials that are kept in plaintext, and offer connections made of them.

Read top-down: `sources` reads a file into variables, `findings` recognises them, `offers` says what
could be connected under the declaration in force, and why not. Nothing here shows a value: what is
said of one is its variable's name, its place and the kind of thing it is.
"""

from __future__ import annotations

from tidegate.credentials.importing.findings import (
    Finding,
    Known,
    known_providers,
    recognise,
    title_of,
)
from tidegate.credentials.importing.offers import Offer, Wish, offers_for
from tidegate.credentials.importing.sources import (
    STANDARD_INPUT,
    Note,
    Reading,
    SourceRefused,
    Variable,
    read_data,
    read_source,
)

__all__ = [
    "STANDARD_INPUT",
    "Finding",
    "Known",
    "Note",
    "Offer",
    "Reading",
    "SourceRefused",
    "Variable",
    "Wish",
    "known_providers",
    "offers_for",
    "read_data",
    "read_source",
    "recognise",
    "title_of",
]
