"""What the log can say is documented, and what is documented can be said."""

from __future__ import annotations

import re
from pathlib import Path

from tidegate.snapshot import ChangeKind

ROOT = Path(__file__).parents[3]
LOGGED = re.compile(r'_log\.(?:info|warning|error)\(\s*"(\w+)"')
TROUBLE = re.compile(r'Trouble\(_log, "(\w+)", "(\w+)"\)')


def test_every_event_of_the_log_is_documented_and_no_other():
    said = {str(kind) for kind in ChangeKind}
    for folder in ("app", "consent", "credentials", "events"):
        for module in (ROOT / "src" / "tidegate" / folder).glob("*.py"):
            text = module.read_text()
            said.update(LOGGED.findall(text))
            said.update(name for pair in TROUBLE.findall(text) for name in pair)
    page = (ROOT / "docs" / "reference" / "log.md").read_text()
    first_columns = "".join(re.findall(r"^\| (`.+?) \|", page, re.MULTILINE))
    rest = re.findall(r"after the first 20, `(\w+)`", page)
    assert said == {*re.findall(r"`(\w+)`", first_columns), *rest}
