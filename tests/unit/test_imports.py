"""What is imported from other packages is public there: a private module may move with any release."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("src", "functions", "bench", "examples", "scripts")


def _private(source: str) -> list[str]:
    """Modules of other packages with a part that starts with an underscore, imports for types only included."""
    named: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            named += [f"{node.module}.{each.name}" for each in node.names]
        elif isinstance(node, ast.Import):
            named += [each.name for each in node.names]
    parts = {name: name.split(".") for name in named if name.split(".")[0] not in ("copperplate", "__future__")}
    return [name for name, each in parts.items() if any(part.startswith("_") for part in each)]


def test_no_private_module_of_another_package_is_imported() -> None:
    files = [file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py")]
    assert len(files) > 100
    found = {str(file.relative_to(ROOT)): names for file in files if (names := _private(file.read_text()))}
    assert found == {}
