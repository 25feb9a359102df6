"""What a signing hook is given of a call, and what it gives: see docs/guides/signing-hooks.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tidegate.domain.secret import Secret


@dataclass(frozen=True, slots=True, repr=False)
class SigningCall:
    """A call as it will go out, once the hook has added to it. Without a useful repr: it holds secrets.

    `url` is absolute, with the query. `headers` are in lower case, in their order, values as bytes.
    `body` is empty where the hook is not declared with `body: true`. `fields` are the credential's
    fields that are declared for the hook.
    """

    method: str
    url: str
    headers: tuple[tuple[str, bytes], ...]
    body: bytes
    fields: Mapping[str, Secret]


@dataclass(frozen=True, slots=True, repr=False)
class Signed:
    """What is added to a call: header fields and parameters that are declared for the hook.

    Parameters are given as they are meant; Tidegate escapes them.
    """

    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    query: Mapping[str, str] = field(default_factory=dict[str, str])


SigningHook = Callable[[SigningCall], Signed]
