"""Compile what is declared and recorded into the one immutable document that the engine runs on.

`compile_snapshot` writes docs/reference/snapshot.md, `changes` says what differs between two
declarations, and `binding` judges whether a connection still fits its provider. All are pure: no
clock of their own, no I/O, no secrets. A snapshot can be printed.
"""

from tidegate.snapshot.binding import is_bound
from tidegate.snapshot.compile import FORMAT, compile_snapshot, signer_document
from tidegate.snapshot.diff import Change, ChangeKind, changes

__all__ = [
    "FORMAT",
    "Change",
    "ChangeKind",
    "changes",
    "compile_snapshot",
    "is_bound",
    "signer_document",
]
