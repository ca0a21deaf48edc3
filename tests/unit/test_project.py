"""What holds for the files of the project: versions that are kept out, names that hide others, no download hosts."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from importlib.metadata import requires, version
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]


def list_files(*folders: str) -> list[str]:
    listed = subprocess.run(["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True, check=True)
    return listed.stdout.splitlines()


def test_no_python_file_hides_the_installed_mlflow() -> None:
    assert not [name for name in list_files("mlflow") if name.endswith(".py")]
    found = find_spec("mlflow")
    assert found is not None
    assert "site-packages" in str(found.origin)


def test_no_init_file_under_tests_hides_the_real_tasks() -> None:
    # Those of modules that models carry are never on the import path of the tests.
    names = [name for name in list_files("tests") if not name.startswith("tests/data/")]
    assert names
    assert not [name for name in names if Path(name).name == "__init__.py"]


@pytest.mark.parametrize(
    ("package", "broken"),
    [("fastapi", "0.155.0"), ("sqlalchemy", "2.1.0"), ("prefect", "3.9.0"), ("mlflow", "3.18.0"), ("torch", "2.13.0")],
)
def test_versions_known_to_break_are_kept_out(package: str, broken: str) -> None:
    capped = next(r for text in requires("triptych") or [] if (r := Requirement(text)).name == package)
    assert Version(version(package)) in capped.specifier
    assert Version(broken) not in capped.specifier


def test_nothing_heavy_comes_in_by_default() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    required = {Requirement(text).name for text in project["dependencies"]}
    assert not required & {
        "accelerate",
        "huggingface-hub",
        "jax",
        "keras",
        "onnxruntime",
        "tensorflow",
        "timm",
        "transformers",
    }
    suffixes = {".bin", ".npz", ".onnx", ".pt", ".pth", ".safetensors"}
    [weights] = [name for name in list_files("src") if Path(name).suffix in suffixes]
    assert Path(weights).parent.name == "bundled"
    assert (ROOT / weights).stat().st_size < 2 * 2**20


def test_constraints_are_exact_and_name_no_host() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert all(re.match(r"^[a-z0-9-]+==[^ ]+( ; .*)?$", line) for line in lines)


def test_no_file_records_where_packages_were_downloaded_from() -> None:
    names = list_files()
    hosts = re.compile("|".join(["py" + "pi", "files.python" + "hosted", "download.pytorch" + r"\.org"]))
    texts = [ROOT / name for name in names if Path(name).suffix not in {".npz", ".png", ".safetensors"}]
    assert not [file for file in texts if file.is_file() and hosts.search(file.read_text(encoding="utf-8"))]
    assert "uv.lock" not in names


def test_a_checkout_that_was_moved_is_set_up_again(tmp_path: Path) -> None:
    was = tmp_path / "was here"
    (was / ".venv").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copyfile(ROOT / name, was / name)

    def plan(folder: Path) -> str:
        command = ["make", "--dry-run", "setup"]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout

    (was / ".venv" / ".installed").write_text(f"{(was / '.venv').resolve()}\n")
    assert "Nothing to be done" in plan(was)
    assert "-m venv --clear .venv" in plan(was.rename(tmp_path / "is here"))
