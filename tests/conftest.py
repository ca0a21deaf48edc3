"""Homes of their own for cache, store and Prefect; and fixtures that several folders share.

Nothing here may import PyTorch, MLflow or Prefect at the top: most unit tests do without.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from triptych.system.environment import apply_environment

if TYPE_CHECKING:
    from triptych.data.boards import BoardData

MakePhotos = Callable[..., Path]

# Modules of an earlier version, as its models carry them.
collect_ignore = ["data"]

# Before anything imports NumPy or PyTorch: two processes of tests with a thread for each core would mostly wait for
# each other's threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Before anything imports Prefect or MLflow: no telemetry, no window system.
apply_environment(quiet=True)

# How long an example takes says how busy the machine is.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

# A shell ignores interrupts for what it starts in the background, and that is inherited: Prefect's worker, which takes
# a request to end as an interrupt, would not end.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the endurance tests alone where none is chosen: they import servers."""
    return (collection_path.name == "endurance" and config.option.markexpr == "not endurance") or None


@pytest.fixture(scope="session", autouse=True)
def _own_homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the user's cache, store and Prefect home out of the tests; the data home may be read."""
    homes = tmp_path_factory.mktemp("homes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRIPTYCH_CACHE_HOME", str(homes / "cache"))
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{homes / 'mlflow.db'}")
        patch.setenv("PREFECT_HOME", str(homes / "prefect"))
        patch.delenv("PREFECT_API_URL", raising=False)
        yield


@pytest.fixture(scope="module", autouse=True)
def _own_import_path() -> Iterator[None]:
    """Forget the modules that models carry, which MLflow puts first on the import path, also of later processes."""
    before = sys.path
    yield
    sys.path = before


@pytest.fixture(autouse=True)
def _own_torch_threads() -> None:
    """Undo that a training gave PyTorch all cores: a thread for each in both processes of tests is too many."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """A real Prefect server, for all tests of a process that run flows."""
    import prefect.settings
    from prefect.settings import temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    # The heartbeat thread sleeps in steps of a second, which every flow run would wait for.
    quick = {prefect.settings.PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    with prefect_test_harness(server_startup_timeout=120), temporary_settings(quick):
        yield


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of an MLflow store without runs, to be copied: creating its tables takes seconds."""
    from mlflow import MlflowClient

    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def own_store(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an MLflow store of this test's own, which is the one that is used."""
    address = f"sqlite:///{shutil.copy(empty_store, tmp_path)}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    return address


@pytest.fixture(scope="session")
def data_home() -> Path:
    """The folder with the real MNIST, photos and weights."""
    home = os.environ.get("TRIPTYCH_DATA_HOME", "")
    if not (Path(home) / "mnist" / "MNIST" / "raw").is_dir():
        pytest.skip("needs real data: TRIPTYCH_DATA_HOME names no folder with mnist/MNIST/raw")
    return Path(home)


@pytest.fixture(scope="session")
def digits() -> BoardData:
    """scikit-learn's digits with the default split."""
    from triptych.config.resolve import resolve_config
    from triptych.data.boards import load_board, prepare_board

    return load_board(prepare_board(resolve_config("digits").boards[0]))


@pytest.fixture(scope="session")
def make_photos() -> MakePhotos:
    """The function that writes a folder of photos."""
    from helpers.photos import write_photos

    return write_photos


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 40 easy photos in two classes."""
    from helpers.photos import write_photos

    return write_photos(tmp_path_factory.mktemp("photos") / "colours", {"green": 20, "red": 20})
