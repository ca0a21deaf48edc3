from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock

if TYPE_CHECKING:
    from triptych.evaluation.report import ComparisonResult

# The exact number format: the fastest one is measured, and models are compared with their trainers bit for bit.
SMALL_BATCHES = ("numpy_mlp.batch_size=8", "torch_mlp.batch_size=8")  # to beat the most frequent class
SETTINGS = (
    "numpy_mlp.epochs=3",
    "torch_mlp.epochs=3",
    "transfer.epochs=3",
    "transfer.precision=float32",
    *SMALL_BATCHES,
)


@pytest.fixture(scope="session")
def compared(request: pytest.FixtureRequest, empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one comparison of the preset `digits`: `mlflow.db`, its artifacts, a cache and its result.

    The processes of pytest-xdist share it: the first one that needs it compares, the others wait.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "compared"
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / "result.pickle").exists():
            request.getfixturevalue("prefect_server")
            from flows.compare import compare
            from triptych.config.resolve import resolve_config

            with pytest.MonkeyPatch.context() as patch:
                folder.mkdir(exist_ok=True)
                patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shutil.copy(empty_store, folder)}")
                patch.setenv("TRIPTYCH_CACHE_HOME", str(folder / "cache"))
                [result] = compare(resolve_config("digits", settings=SETTINGS))
            (folder / "result.pickle").write_bytes(pickle.dumps(result))
    return folder


@pytest.fixture(scope="module")
def result(compared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComparisonResult]:
    """The comparison of `compared`, in a store of the module's own: a copy that shares the artifacts."""
    store = shutil.copy(compared / "mlflow.db", tmp_path_factory.mktemp("copied"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}")
        patch.setenv("TRIPTYCH_CACHE_HOME", str(compared / "cache"))
        yield pickle.loads((compared / "result.pickle").read_bytes())  # noqa: S301 - written above
