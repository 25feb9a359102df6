"""Read what is declared into domain types, or explain why not.

`load` makes a `Declaration` of `tidegate.yaml`, of what it includes, of the presets it names and
of the documents that describe its providers. It raises `ConfigErrors` with everything that is
wrong. It decides nothing about calls: that is the engine's, by the snapshot made of the result.
"""

from tidegate.catalog.documents import Fetch
from tidegate.catalog.errors import ConfigError, ConfigErrors
from tidegate.catalog.load import load
from tidegate.catalog.openapi import Api, Document, read_document, read_operations
from tidegate.catalog.origins import fill_origin, fill_origins
from tidegate.catalog.patterns import OperationTable, matching
from tidegate.catalog.preset import Preset, presets
from tidegate.catalog.schema import json_schema
from tidegate.catalog.settings import (
    CacheBounds,
    Listener,
    Resolver,
    Settings,
    SharedStore,
    load_settings,
)
from tidegate.catalog.weaknesses import Weakness, weaknesses

__all__ = [
    "Api",
    "CacheBounds",
    "ConfigError",
    "ConfigErrors",
    "Document",
    "Fetch",
    "Listener",
    "OperationTable",
    "Preset",
    "Resolver",
    "Settings",
    "SharedStore",
    "Weakness",
    "fill_origin",
    "fill_origins",
    "json_schema",
    "load",
    "load_settings",
    "matching",
    "presets",
    "read_document",
    "read_operations",
    "weaknesses",
]
