from __future__ import annotations

from pathlib import Path

import platformdirs
import pytest

from triptych.system import paths


def test_the_environment_says_where_cache_and_data_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TRIPTYCH_DATA_HOME", str(tmp_path / "data"))
    assert paths.cache_home() == tmp_path / "cache"
    assert paths.data_homes() == [tmp_path / "data", tmp_path / "cache" / "data"]
    monkeypatch.delenv("TRIPTYCH_DATA_HOME")
    assert paths.data_homes() == [paths.download_home()] == [tmp_path / "cache" / "data"]
    monkeypatch.delenv("TRIPTYCH_CACHE_HOME")
    assert paths.cache_home() == platformdirs.user_cache_path("triptych")


def test_a_checkout_keeps_its_store_and_an_installed_package_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = tmp_path / "checkout"
    module = checkout / "src" / "triptych" / "system" / "paths.py"
    monkeypatch.setattr(paths, "__file__", str(module))
    assert paths.project_root() == platformdirs.user_data_path("triptych")
    checkout.mkdir()
    (checkout / "pyproject.toml").touch()
    assert paths.local_store() == checkout / "mlflow"
