"""Which package may import which: the edge side nothing of the others, and no code a command."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "edge_app": {"edge_app"},
    "benchmarks": {"benchmarks", "edge_app"},
    "export": {"benchmarks", "edge_app", "export"},
    "train": {"benchmarks", "edge_app", "train"},
}


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (each.name for each in node.names)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_those_below_it(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        packages = {name.partition(".")[0] for name in imported(path)}
        assert packages & MAY_IMPORT.keys() <= MAY_IMPORT[package], path


def test_only_commands_import_commands() -> None:
    for path in (path for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py")):
        if path.parent.name != "commands":
            assert not [name for name in imported(path) if ".commands" in name], path
