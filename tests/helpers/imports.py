"""What the import of a file imports, read from its source."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Where the packages of this project lie.
HOMES = {"triptych": ROOT / "src", "flows": ROOT, "tasks": ROOT, "helpers": ROOT / "tests"}


def run_at_import(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a module that its import executes."""
    for child in ast.iter_child_nodes(node):
        only_for_types = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
        if not only_for_types and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from run_at_import(child)


def list_names(nodes: Iterator[ast.AST]) -> set[str]:
    """Return the dotted names that import statements name, also of what may be a module or an object of one."""
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def find_files(name: str) -> Iterator[Path]:
    """Yield the files of this project that the import of a name executes."""
    parts = name.split(".")
    if home := HOMES.get(parts[0]):
        for length in range(1, len(parts) + 1):
            folder = home.joinpath(*parts[:length])
            yield from filter(Path.is_file, (folder / "__init__.py", folder.with_suffix(".py")))


@cache
def list_imports(file: Path) -> frozenset[str]:
    """Return what the import of a file names at the top."""
    return frozenset(list_names(run_at_import(ast.parse(file.read_text(encoding="utf-8")))))


@cache
def list_next(file: Path) -> frozenset[Path]:
    """Return the files of this project that the import of a file executes first."""
    return frozenset(found for name in list_imports(file) for found in find_files(name))


def list_reached(files: Iterable[Path]) -> set[str]:
    """Return what the import of files names, directly or through others of this project."""
    waiting = list(files)
    seen = set(waiting)
    while waiting:
        found = list_next(waiting.pop()) - seen
        seen |= found
        waiting += found
    return {name for file in seen for name in list_imports(file)}
