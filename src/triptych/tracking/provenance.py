"""The provenance of a result: data, split, code and library versions, as tags of a run."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from mlflow.entities import Dataset, DatasetInput, InputTag

from triptych.data.boards import PreparedBoard
from triptych.system.paths import project_root
from triptych.system.threads import count_cores
from triptych.tracking.tags import BOARD, SPLIT_ID, TEST_SET

REPORTED_LIBRARIES = ("numpy", "scikit-learn", "torch", "torchvision", "mlflow", "prefect")
DATASET_DIGEST_LENGTH = 36


def describe_board(prepared: PreparedBoard) -> dict[str, str]:
    """Return the provenance of the runs of a board: its data and split, the machine, and the versions of the code."""
    tags = {
        BOARD: prepared.config.name,
        "data": prepared.data_name,
        "data_sha256": prepared.data_digest,
        SPLIT_ID: prepared.split_id,
        TEST_SET: prepared.test_set_id,
        **{f"images.{part}": str(size) for part, size in prepared.sizes.items()},
        "cores": str(count_cores()),
        "platform": f"Python {platform.python_version()}, {platform.system()} {platform.machine()}",
        **{f"version.{library}": _find_version(library) for library in REPORTED_LIBRARIES},
    }
    commit = find_commit()
    return tags | ({"git_commit": commit} if commit else {})


def describe_dataset(prepared: PreparedBoard) -> DatasetInput:
    """Return the data set as MLflow's pages show it, with its hash cut to the length that MLflow allows."""
    source = json.dumps({"uri": prepared.config.data.source})
    digest = prepared.data_digest[:DATASET_DIGEST_LENGTH]
    profile = json.dumps({**prepared.sizes, "classes": len(prepared.classes), "split_id": prepared.split_id})
    dataset = Dataset(prepared.data_name, digest, source_type="local", source=source, profile=profile)
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "train, validation and test")])


def find_commit() -> str | None:
    """Return the commit of the checkout, with "-dirty" if files differ from it; None outside of a checkout."""
    command = ["git", "-C", str(project_root()), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603 - git
    except (OSError, subprocess.CalledProcessError):
        return None


def pin_requirements(names: Sequence[str]) -> list[str]:
    """Return requirements with the exact installed versions, MLflow's own included.

    `torch.__version__` is a local version that no package index has, so the version of the distribution is used.
    """
    return [f"{name}=={version(name)}" for name in ("mlflow", *names)]


def _find_version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "not installed"
