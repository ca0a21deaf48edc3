"""How large a store is, and by how much a night makes it larger."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import mlflow
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.uri import is_local_uri

from triptych.system.addresses import sqlite_file, tracking_uri
from triptych.system.files import measure_folder
from triptych.tracking.retention.entries import list_last
from triptych.tracking.store import artifact_home, is_sqlite

# The mean of a night is that of so many comparisons of a board.
NIGHTS = 10


@dataclass(frozen=True)
class StoreSizes:
    """The size of a store in bytes.

    Attributes:
        parts: what it holds; empty for a server, which only itself can measure.
        nights: what one more comparison of each board adds in artifacts, the mean of the last ones.
    """

    parts: dict[str, int] = field(default_factory=dict)
    nights: dict[str, int] = field(default_factory=dict)


def measure_store(client: mlflow.MlflowClient) -> StoreSizes:
    """Return how large the store is, and by how much a night makes it larger."""
    nights: dict[str, list[int]] = defaultdict(list)
    for entry in list_last(client, NIGHTS):
        nights[entry.board].append(measure_addresses(entry.addresses))
    means = {board: sum(sizes) // len(sizes) for board, sizes in nights.items()}
    uri = tracking_uri()
    if not is_sqlite(uri):
        return StoreSizes({}, means)
    file, artifacts = sqlite_file(uri).resolve(), artifact_home(uri)
    models = sum(measure_folder(board / "models") for board in artifacts.glob("*"))
    parts = {"database": file.stat().st_size, "models": models, "other artifacts": measure_folder(artifacts) - models}
    return StoreSizes(parts, means)


def measure_addresses(addresses: Iterable[str]) -> int:
    """Return the bytes of the artifacts at addresses."""
    return sum(map(_measure_artifacts, addresses))


def _measure_artifacts(address: str) -> int:
    if is_local_uri(address):
        return measure_folder(Path(local_file_uri_to_path(address)))
    return _measure_listed(get_artifact_repository(address))


def _measure_listed(repository: ArtifactRepository, folder: str | None = None) -> int:
    return sum(
        _measure_listed(repository, found.path) if found.is_dir else found.file_size or 0
        for found in repository.list_artifacts(folder)
    )
