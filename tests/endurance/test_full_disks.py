"""Disks that are full, at the start or while panels train: one line, exit code 2, and the command goes on later."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.forks import Command, Forks
from helpers.wholeness import Work

pytestmark = [pytest.mark.endurance, pytest.mark.timeout(600)]

WORK = Work(("numpy-mlp",), ("numpy_mlp.epochs=200", "numpy_mlp.checkpoint_epochs=1"))
# Prefect's home is that of a temporary server.
PLACES: dict[str, dict[str, str | None]] = {
    "store": {"MLFLOW_TRACKING_URI": "sqlite:///{disk}/mlflow.db"},
    "cache": {"TRIPTYCH_CACHE_HOME": "{disk}"},
    "prefect": {"PREFECT_HOME": "{disk}", "PREFECT_API_URL": None},
    "temporary": {"TMPDIR": "{disk}"},
}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, which is soon full."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("needs a disk of its own: only root mounts a tmpfs")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk: Path) -> None:
    with (disk / "filled").open("wb", buffering=0) as file:
        for size in (2**16, 2**10, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError as error:
                assert error.errno == errno.ENOSPC  # noqa: PT017 - it is how the loop ends


def start(forks: Forks, home: Path, place: str, disk: Path) -> Command:
    environment = {name: value and value.format(disk=disk) for name, value in PLACES[place].items()}
    store = disk / "mlflow.db" if place == "store" else None
    return forks.start(home, *WORK.arguments, store=store, environment=environment)


def check_said(command: Command) -> None:
    """Check that a command said in one line that there is no room."""
    assert command.end() == 2, command.printed
    lines = [line for line in command.printed.splitlines() if line.startswith("triptych:")]
    assert len(lines) == 1, command.printed
    assert "room" in lines[0] or "full" in lines[0]
    for word in ("Traceback", "[SQL", "unexpected"):
        assert word not in command.printed, command.printed


# Python itself takes another folder for temporary files where it finds that one to be full.
@pytest.mark.parametrize("place", sorted(PLACES.keys() - {"temporary"}))
def test_a_disk_that_is_full_is_named_at_the_start(place: str, forks: Forks, disk: Path, tmp_path: Path) -> None:
    fill(disk)
    check_said(start(forks, tmp_path, place, disk))


@pytest.mark.parametrize("place", ["store", "cache", "temporary"])
def test_a_disk_that_fills_up_is_named_and_the_command_goes_on(
    place: str, forks: Forks, disk: Path, tmp_path: Path
) -> None:
    command = start(forks, tmp_path, place, disk)
    command.wait_for_epochs()
    fill(disk)
    check_said(command)
    (disk / "filled").unlink()
    again = start(forks, tmp_path, place, disk)
    again.finish()
    WORK.check(again)
