"""Finding the folders of this project: the checkout, the data, the cache and the local tracking store."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def project_root() -> Path:
    """Return the checkout that this package runs from, or the user's data folder if it runs from no checkout."""
    checkout = Path(__file__).resolve().parents[3]
    if (checkout / "pyproject.toml").is_file():
        return checkout
    return platformdirs.user_data_path("triptych")


def cache_home() -> Path:
    """Return the writable cache of splits, embeddings and downloads: `TRIPTYCH_CACHE_HOME`, or the user's cache."""
    return _from_environment("TRIPTYCH_CACHE_HOME", platformdirs.user_cache_path("triptych"))


def data_homes() -> list[Path]:
    """Return the folders to search for data sets, starting with `TRIPTYCH_DATA_HOME` if it is set.

    That one may be read-only: downloads always go to the last folder, which is in the cache.
    """
    downloads = download_home()
    return list(dict.fromkeys([_from_environment("TRIPTYCH_DATA_HOME", downloads), downloads]))


def download_home() -> Path:
    """Return the folder that missing data sets are downloaded to."""
    return cache_home() / "data"


def local_store() -> Path:
    """Return the folder of the local MLflow store."""
    return project_root() / "mlflow"


def _from_environment(name: str, default: Path) -> Path:
    value = os.environ.get(name)
    return Path(value).expanduser().resolve() if value else default
