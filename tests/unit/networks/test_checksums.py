from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from helpers.damages import DAMAGES
from triptych.errors import DamagedFileError
from triptych.networks.checksums import CHECKSUMS, check_checksums, write_checksums


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file of its own and one in a subfolder, and their checksums."""
    (tmp_path / "part").mkdir()
    for name in ("one.bin", "part/two.bin"):
        (tmp_path / name).write_bytes(name.encode() * 20)
    write_checksums(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["one.bin", "part/two.bin", CHECKSUMS])
@pytest.mark.parametrize("damage", DAMAGES)
def test_every_damage_is_named(name: str, damage: str, folder: Path) -> None:
    check_checksums(folder)
    DAMAGES[damage](folder / name)
    with pytest.raises(DamagedFileError, match=r"is damaged \(.*\): fetch or train the model again"):
        check_checksums(folder)


def test_a_missing_and_an_added_file_are_named(folder: Path) -> None:
    (folder / "three.bin").write_text("added")
    check_checksums(folder, complete=False)
    with pytest.raises(DamagedFileError, match=r"three\.bin is damaged \(it is not listed in SHA256SUMS\)"):
        check_checksums(folder)
    (folder / "one.bin").unlink()
    with pytest.raises(DamagedFileError, match=r"one\.bin is damaged \(it is missing"):
        check_checksums(folder, complete=False)


def test_what_python_and_systems_add_is_no_damage(folder: Path) -> None:
    (folder / "__pycache__").mkdir()
    for name in ("__pycache__/one.pyc", ".DS_Store"):
        (folder / name).write_text("added")
    check_checksums(folder)


def test_a_folder_without_checksums_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "one.bin").touch()
    check_checksums(tmp_path)


def test_the_command_of_the_system_checks_them_too(folder: Path) -> None:
    subprocess.run(["sha256sum", "--check", "--strict", CHECKSUMS], cwd=folder, check=True, capture_output=True)
