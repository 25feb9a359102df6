"""The words that every reader of a fideslang manifest knows: the keys of its default taxonomy, version 3.1."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Final

_WORDS: Final[dict[str, list[str]]] = json.loads(
    (files("tidegate.privacy") / "taxonomy.json").read_text()
)

DATA_USES: Final = frozenset(_WORDS["data_use"])
DATA_CATEGORIES: Final = frozenset(_WORDS["data_category"])
DATA_SUBJECTS: Final = frozenset(_WORDS["data_subject"])
