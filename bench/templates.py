"""Configuration files with `@{NAME}` places; `$`, `%` and `{` have other meanings in most."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

_PLACE: Final = re.compile(r"@\{([A-Z_]+)\}")


def fill(template: Path, target: Path, **values: object) -> Path:
    """Write `target` from `template` with every place filled; one without a value is a KeyError."""
    text = _PLACE.sub(lambda place: str(values[place[1]]), template.read_text())
    target.write_text(text)
    return target
