from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from helpers.comparisons import Recorded


@pytest.fixture(scope="session")
def recorded_once(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Recorded]:
    """A store with one comparison, to be copied, and that comparison."""
    from helpers.comparisons import record_comparison

    folder = tmp_path_factory.mktemp("recorded")
    store = Path(shutil.copy(empty_store, folder))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}")
        return store, record_comparison(folder)


@pytest.fixture
def recorded(recorded_once: tuple[Path, Recorded], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recorded:
    """A comparison in a store of this test's own, a copy: its artifacts are shared and may only be read."""
    store, comparison = recorded_once
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shutil.copy(store, tmp_path)}")
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / "cache"))
    return comparison
