"""Load a library that only some installations need."""

from __future__ import annotations

import importlib
from typing import Any

from tidegate.vault.errors import RootRefused


def library(name: str, extra: str) -> Any:
    """Import a module of an optional package.

    Raises:
        RootRefused: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        package = name.partition(".")[0]
        raise RootRefused(
            f"This needs the package `{package}`: `pip install 'tidegate[{extra}]'`."
        ) from None
