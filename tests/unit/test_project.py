"""The rules of the house: who imports whom, what lies where, and which versions may not come in."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib.metadata import requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    file.relative_to(ROOT) for folder in ("src/triptych", "tasks", "flows") for file in (ROOT / folder).rglob("*.py")
)
ORCHESTRATED = {"tasks", "flows"}
WITHOUT_TORCH = "numpy_mlp|numpy_functions|mlp|training|metrics|statistics|splits|config|sections|presets|errors"
# Room -> what it may not import, directly. Rooms are tried from the top; the first that fits holds.
FORBIDDEN = {
    r"src/triptych/tracking/.*": {"torch", "torchvision", "prefect", *ORCHESTRATED},
    r"src/triptych/orchestration/.*": {"torch", "torchvision", "mlflow", *ORCHESTRATED},
    r"src/triptych/(early_start|temporary_server)\.py": {"torch", "torchvision", "mlflow", *ORCHESTRATED},
    r"src/triptych/(cli|commands/.*)\.py": {"torch", "torchvision", "mlflow", "prefect", "tasks"},
    r"src/triptych/(torch_mlp|transfer|embeddings|backbones)\.py": {"mlflow", "prefect", *ORCHESTRATED},
    rf"src/triptych/({WITHOUT_TORCH})\.py": {"torch", "torchvision", "mlflow", "prefect", *ORCHESTRATED},
    r"src/triptych/.*": {"mlflow", "prefect", *ORCHESTRATED},
    r"tasks/.*": {"numpy", "torch", "torchvision", "mlflow", *ORCHESTRATED},
    r"flows/.*": {"numpy", "torch", "torchvision", "mlflow"},
}


def imported_packages(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    modules = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    modules += [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    return {module.partition(".")[0] for module in modules}


@pytest.mark.parametrize("file", SOURCES, ids=str)
def test_every_room_imports_only_what_it_may(file: Path) -> None:
    forbidden = next(names for room, names in FORBIDDEN.items() if re.fullmatch(room, file.as_posix()))
    assert not imported_packages(ROOT / file) & forbidden


def test_the_import_rule_can_fail(tmp_path: Path) -> None:
    file = tmp_path / "task.py"
    file.write_text("def step():\n    import torch.nn\n    from mlflow import log_metric\n")
    assert imported_packages(file) == {"torch", "mlflow"}


def test_no_python_file_hides_the_installed_mlflow() -> None:
    import mlflow

    listed = subprocess.run(["git", "ls-files", "mlflow"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert not [name for name in listed.splitlines() if name.endswith(".py")]
    assert not list((ROOT / "mlflow").glob("*.py"))
    assert "site-packages" in str(mlflow.__file__)


def test_no_init_file_under_tests_hides_the_real_tasks() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py"))


@pytest.mark.parametrize(
    ("package", "broken"),
    [("fastapi", "0.155.0"), ("sqlalchemy", "2.1.0"), ("prefect", "3.9.0"), ("mlflow", "3.18.0"), ("torch", "2.13.0")],
)
def test_versions_known_to_break_are_kept_out(package: str, broken: str) -> None:
    capped = next(r for text in requires("triptych") or [] if (r := Requirement(text)).name == package)
    assert Version(version(package)) in capped.specifier
    assert Version(broken) not in capped.specifier


def test_prefects_server_can_be_imported_with_the_pinned_libraries() -> None:
    from prefect.server.api import server

    assert callable(server.create_app)


def test_constraints_are_exact_and_name_no_host() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert all(re.match(r"^[a-z0-9-]+==[^ ]+( ; .*)?$", line) for line in lines)


def test_no_file_records_where_packages_were_downloaded_from() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    hosts = re.compile("|".join(["py" + "pi", "files.python" + "hosted", "download.pytorch" + r"\.org"]))
    texts = [ROOT / name for name in listed.splitlines() if Path(name).suffix not in {".png", ".safetensors"}]
    assert not [file for file in texts if file.is_file() and hosts.search(file.read_text(encoding="utf-8"))]
    assert not (ROOT / "uv.lock").exists() or "uv.lock" not in listed


def test_the_command_line_starts_without_heavy_libraries() -> None:
    code = (
        "import sys, triptych.cli, triptych.config.resolve;"
        "print(sorted({'torch', 'torchvision', 'mlflow', 'prefect', 'sklearn'} & set(sys.modules)))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert printed.strip() == "[]"


def test_backbone_names_are_torchvisions() -> None:
    import torchvision.models

    from triptych.config.names import BACKBONE_NAMES

    assert sorted(BACKBONE_NAMES) == sorted(torchvision.models.list_models(module=torchvision.models))
