"""Imports: no circles among our modules; of other packages only what is public there, for the rest may move."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import grimp

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


def test_no_modules_import_each_other_in_a_circle() -> None:
    # Imports for types and inside of functions count: who reads one module of a circle has to read all of them.
    graph = grimp.build_graph("copperplate", cache_dir=None)
    assert graph.count_imports() > 500
    imported = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    TopologicalSorter(imported).prepare()  # raises `CycleError`, which names the circle
