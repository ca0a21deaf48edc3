"""Where things lie: the checkout, the data homes, the cache and the local tracking store."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def project_root() -> Path:
    """Return the checkout this package runs from, or the user's data folder where it was installed alone."""
    checkout = Path(__file__).resolve().parents[3]
    if (checkout / "pyproject.toml").is_file():
        return checkout
    return platformdirs.user_data_path("triptych")


def cache_home() -> Path:
    """Return the writable per-user cache: splits, embeddings, downloads (`TRIPTYCH_CACHE_HOME`)."""
    return _from_environment("TRIPTYCH_CACHE_HOME", platformdirs.user_cache_path("triptych"))


def data_homes() -> list[Path]:
    """Return the folders in which data sets are looked for, first the one named by `TRIPTYCH_DATA_HOME`.

    The named one may be read-only; downloads always go to the last, the per-user cache.
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
