"""What import-linter cannot see: the native module is compiled, so its importers are read here."""

import ast
from pathlib import Path

import tidegate

SOURCE = Path(tidegate.__file__).parent


def imported(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_only_engine_imports_the_native_module():
    importers = {
        file.relative_to(SOURCE).parts[0]
        for file in SOURCE.rglob("*.py")
        if "tidegate.engine._wire" in imported(file)
    }
    assert importers == {"engine"}
