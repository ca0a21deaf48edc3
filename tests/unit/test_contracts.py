"""The contracts of import-linter hold, and each of them can be broken."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("src/triptych", "flows", "tasks")
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
UPWARDS, CIRCLES, MLFLOW, PREFECT, TORCH, TYPER = (contract["name"] for contract in CONTRACTS)
# An import that may not be, the file that it is added to, and the contract that it breaks.
FORBIDDEN = {
    "upwards": ("src/triptych/networks/minibatches.py", "import triptych.training.loop", UPWARDS),
    "between neighbours": ("src/triptych/tuning/study.py", "import triptych.evaluation.metrics", UPWARDS),
    "within a function": ("tasks/evaluate.py", "def step():\n    from flows import compare", UPWARDS),
    "circle in a package": ("src/triptych/config/schema.py", "import triptych.config.resolve", CIRCLES),
    "MLflow": ("src/triptych/panels/fitting.py", "from mlflow import log_metric", MLFLOW),
    "Prefect": ("src/triptych/tracking/runs.py", "import prefect.client", PREFECT),
    "PyTorch": ("src/triptych/config/schema.py", "import torch.nn", TORCH),
    "typer": ("src/triptych/system/progress.py", "def ask():\n    import typer", TYPER),
}


def copy_packages(folder: Path) -> None:
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            copied = folder / file.relative_to(ROOT)
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copied)


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the packages that lie in a folder against the contracts of this project."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", str(ROOT / "pyproject.toml")]
    own_path = {"PYTHONPATH": f"{folder / 'src'}:{folder}"}
    return subprocess.run(command, cwd=folder, env=own_path, capture_output=True, text=True, check=False)


def test_every_contract_is_kept(tmp_path: Path) -> None:
    copy_packages(tmp_path)
    checked = lint_imports(tmp_path)
    assert checked.returncode == 0, checked.stdout
    assert f"Contracts: {len(CONTRACTS)} kept, 0 broken." in checked.stdout


@pytest.mark.parametrize("case", FORBIDDEN)
def test_a_forbidden_import_breaks_its_contract(case: str, tmp_path: Path) -> None:
    copy_packages(tmp_path)
    file, line, contract = FORBIDDEN[case]
    with (tmp_path / file).open("a", encoding="utf-8") as source:
        source.write(f"\n{line}\n")
    checked = lint_imports(tmp_path)
    assert checked.returncode == 1, checked.stderr
    assert f"{contract} BROKEN" in checked.stdout


def test_every_contract_is_broken_by_one_of_these_imports() -> None:
    assert {contract["name"] for contract in CONTRACTS} == {contract for _, _, contract in FORBIDDEN.values()}
