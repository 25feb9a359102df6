"""Hold a secret so that it cannot be shown by accident."""

from __future__ import annotations

import hmac
from typing import NoReturn


class Secret:
    """Secret bytes without a useful repr, str, format, equality, hash or pickle.

    `reveal()` is the one way to the bytes, so that a reader can find every use of it. CPython cannot
    wipe immutable bytes: this type makes the window smaller, it does not promise more.
    """

    __slots__ = ("__value",)

    def __init__(self, value: bytes | str) -> None:
        self.__value = value.encode() if isinstance(value, str) else bytes(value)

    def reveal(self) -> bytes:
        """Return the bytes, to be handed on at once and kept nowhere."""
        return self.__value

    def matches(self, other: Secret) -> bool:
        """Compare in constant time."""
        return hmac.compare_digest(self.__value, other.reveal())

    def __len__(self) -> int:
        return len(self.__value)

    def __bool__(self) -> bool:
        return bool(self.__value)

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        raise TypeError("compare secrets with Secret.matches, which takes constant time")

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled or copied")

    def __copy__(self) -> NoReturn:
        raise TypeError("a secret is not pickled or copied")

    def __deepcopy__(self, memo: object) -> NoReturn:
        raise TypeError("a secret is not pickled or copied")
