"""Unit tests mirror the packages: each module has one, and none imports at its top what its module does without."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.imports import HOMES, ROOT, find_files, list_names, list_reached

UNIT, SOURCE = ROOT / "tests" / "unit", ROOT / "src" / "triptych"
# Libraries whose import takes seconds, and those that import them.
HEAVY = {
    "mlflow": "MLflow",
    "prefect": "Prefect",
    "prefect_dask": "Prefect",
    "safetensors.torch": "PyTorch",
    "torch": "PyTorch",
    "torchvision": "PyTorch",
}
TESTS = sorted(UNIT.rglob("test_*.py"))


def find_heavy(name: str) -> Iterator[str]:
    """Yield the heavy library that a name belongs to, if it does."""
    parts = name.split(".")
    prefixes = (".".join(parts[:length]) for length in (1, 2))
    yield from (HEAVY[prefix] for prefix in prefixes if prefix in HEAVY)


def list_heavy(*files: Path) -> set[str]:
    """Return the heavy libraries that the import of files imports, directly or through others of this project."""
    return {library for name in list_reached(files) for library in find_heavy(name)}


def find_module(test: Path) -> Path:
    """Return the module that a test mirrors."""
    return SOURCE / test.relative_to(UNIT).with_name(test.name.removeprefix("test_"))


def find_strays(test: Path, module: Path) -> set[str]:
    """Return the heavy libraries that a test imports at its top although its module does without."""
    name = ".".join(module.relative_to(HOMES["triptych"]).with_suffix("").parts)
    return list_heavy(test) - list_heavy(*find_files(name))


@pytest.mark.parametrize("test", TESTS, ids=lambda test: str(test.relative_to(UNIT)))
def test_a_unit_test_imports_at_its_top_only_what_its_module_does(test: Path) -> None:
    assert find_strays(test, find_module(test)) == set()


@pytest.mark.parametrize("conftest", [*UNIT.parents[0].glob("conftest.py"), *UNIT.rglob("conftest.py")], ids=str)
def test_what_all_unit_tests_share_imports_nothing_heavy(conftest: Path) -> None:
    assert list_heavy(conftest) == set()


@pytest.mark.parametrize(
    ("line", "strays"),
    [
        ("import torch.nn", {"PyTorch"}),
        ("from triptych.tracking import runs", {"MLflow"}),
        ("from prefect_dask import DaskTaskRunner", {"Prefect"}),
        ("def test_it() -> None:\n    import torch", set()),
        ("from triptych.networks import numpy_mlp", set()),
    ],
)
def test_strays_are_found(line: str, strays: set[str], tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(line)
    assert find_strays(tmp_path / "test_it.py", SOURCE / "networks" / "numpy_mlp.py") == strays


def test_every_module_has_a_unit_test() -> None:
    mirrored = {find_module(test) for test in TESTS}
    named = [list_names(ast.walk(ast.parse(test.read_text(encoding="utf-8")))) for test in TESTS]
    imported = {file for names in named for name in names for file in find_files(name)}
    modules = {file for file in SOURCE.rglob("*.py") if file.name != "__init__.py"}
    assert sorted(str(file.relative_to(SOURCE)) for file in modules - mirrored - imported) == []
