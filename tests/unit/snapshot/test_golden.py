"""What is declared, a dividing line, and the snapshot that it becomes: one file for each case.

`TIDEGATE_GOLDEN=write pytest tests/unit/snapshot/test_golden.py` writes what is compiled into the
files; the difference is then for a person to judge.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from support.declared import NOW, connection, token

from tidegate.catalog import load
from tidegate.domain.declaration import Declaration
from tidegate.snapshot import compile_snapshot

CASES = sorted((Path(__file__).parent / "golden").glob("*.snapshot"))
DIVIDER = "----------\n"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_declaration_becomes_this_snapshot(case: Path, tmp_path: Path):
    declared, _, expected = case.read_text().partition(DIVIDER)
    (tmp_path / "tidegate.yaml").write_text(declared)
    written = _compile(load(tmp_path / "tidegate.yaml"))
    if os.environ.get("TIDEGATE_GOLDEN") == "write":
        case.write_text(declared + DIVIDER + written)
    assert written == expected


def test_there_are_cases():
    assert len(CASES) >= 5


def _compile(declaration: Declaration) -> str:
    """Compile with one token for each consumer, and one connection for each client and provider."""
    tokens = [
        token(f"tok_{consumer.name}", consumer=consumer.name) for consumer in declaration.consumers
    ]
    connections = [
        connection(
            provider.name,
            id=f"con_{client.name}_{provider.name}",
            client=client.name,
            origins=tuple(
                origin.replace("{shop}", f"{client.name}-shop") for origin in provider.origins
            ),
        )
        for client in declaration.clients
        for provider in declaration.providers
    ]
    snapshot = json.loads(compile_snapshot(declaration, 7, tokens, connections, now=NOW))
    return _readable(snapshot)


def _readable(snapshot: dict[str, object]) -> str:
    """Write one line for each entry, so that a difference shows what changed and no more."""
    lines: list[str] = []
    for name, value in snapshot.items():
        if isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
            entries = ",\n".join(f"    {json.dumps(entry, ensure_ascii=False)}" for entry in value)
            lines.append(f'  "{name}": [\n{entries}\n  ]')
        else:
            lines.append(f'  "{name}": {json.dumps(value, ensure_ascii=False)}')
    return "{\n" + ",\n".join(lines) + "\n}\n"
