"""What commands leave unimported: read from their source, or, in PyTorch, from a process of its own."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.imports import ROOT, find_files, list_names, list_reached
from helpers.mlps import TORCH_MLP

# What takes long to import, and is only for training, evaluation and reports.
FOR_COMPARISONS = {"jinja2", "matplotlib", "optuna", "pandas", "prefect", "scipy", "sklearn", "torch", "torchvision"}


@pytest.mark.parametrize(
    ("module", "command"),
    [
        ("cache", "cache"),
        ("inspect", "presets"),
        ("inspect", "show"),
        ("models", "fetch"),
        ("models", "predict"),
        ("models", "report"),
        ("serving/serve", "serve"),
    ],
)
def test_a_short_command_imports_nothing_that_only_comparisons_need(module: str, command: str) -> None:
    """A model names the class that loads it, which imports PyTorch if it needs it."""
    tree = ast.parse((ROOT / "src" / "triptych" / "commands" / f"{module}.py").read_text(encoding="utf-8"))
    [function] = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == command)
    own = list_names(ast.walk(function))
    names = own | list_reached([*find_files("triptych.cli"), *(file for name in own for file in find_files(name))])
    assert {name.partition(".")[0] for name in names} & FOR_COMPARISONS == set()


def test_a_training_imports_nothing_of_pytorchs_compiler() -> None:
    trained = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[1] / "helpers")!r})
sys.argv = ["train", {TORCH_MLP!r}]
import train_until_killed
train_until_killed.main()
print([name for name in ("torch._dynamo", "torch._inductor", "sympy") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", trained], capture_output=True, check=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"
