"""The names of XML, and the namespaces that policies tell them by (Namespaces in XML 1.0)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

_BEGIN = (
    r"A-Z_a-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02ff\u0370-\u037d\u037f-\u1fff\u200c\u200d"
    r"\u2070-\u218f\u2c00-\u2fef\u3001-\ud7ff\uf900-\ufdcf\ufdf0-\ufffd\U00010000-\U000effff"
)
_NAME: Final = rf"[{_BEGIN}][{_BEGIN}0-9.\u00b7\u0300-\u036f\u203f\u2040-]*"
_QUALIFIED: Final = re.compile(rf"(?:(?P<prefix>{_NAME}):)?{_NAME}")
PREFIX_PATTERN: Final = r"([A-Za-z_][A-Za-z0-9_.-]*)?"
"""Of a policy's namespaces; the one without a prefix is that of elements which have none."""
_PREFIX: Final = re.compile(PREFIX_PATTERN)
_ADDRESS: Final = re.compile(r"[!-~\u00a1-\ud7ff\uf900-\ufdcf\ufdf0-\uffef]{1,1000}")
_KEPT: Final = "http://www.w3.org/XML/1998/namespace", "http://www.w3.org/2000/xmlns/"


def is_xml_name(text: str) -> bool:
    """Whether it is a name that may have a prefix."""
    return _QUALIFIED.fullmatch(text) is not None


def prefixes(names: Iterable[str | None]) -> set[str]:
    """The prefixes of some names, but for the one that XML has itself."""
    found = (_QUALIFIED.fullmatch(name) for name in names if name is not None)
    return {one["prefix"] for one in found if one and one["prefix"]} - {"xml"}


def wrong_namespaces(namespaces: Mapping[str, str]) -> tuple[str, str] | None:
    """Why they are none, and what would be right."""
    for prefix, address in namespaces.items():
        if not _PREFIX.fullmatch(prefix) or prefix.lower().startswith("xml"):
            return (
                f"`{prefix}` is not a prefix for a namespace",
                'a name that does not begin with `xml`; `""` is for elements without a prefix',
            )
        if not _ADDRESS.fullmatch(address) or address in _KEPT:
            return f"the address of the namespace `{prefix}` is none", "as documents write it"
    if len(set(namespaces.values())) < len(namespaces):
        return "two prefixes have one namespace", "keep one of them: rules tell names by it"
    return None
