"""The provenance of a result: what a run says about data, split, code and versions, in tags and in its record.

The record of a training is all that is needed to train again: two files of the run, whose hashes are tags.
"""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag, Run
from mlflow.exceptions import MlflowException

from triptych.config.documents import read_board, write_board
from triptych.config.schema import BoardConfig
from triptych.data.boards import PreparedBoard
from triptych.errors import ConfigError, DamagedFileError
from triptych.networks.checksums import CHECKSUMS
from triptych.panels.fitting import FittedPanel
from triptych.system.paths import project_root
from triptych.system.threads import count_cores
from triptych.tracking.tags import BOARD, FOLDS, REPEAT, SPLIT_ID, TEST_SET, read_tags
from triptych.training.jobs import PanelJob

REPORTED_LIBRARIES = ("numpy", "scikit-learn", "torch", "torchvision", "mlflow", "prefect")
DATASET_DIGEST_LENGTH = 36
# The configuration, for `--config`, and what the result depends on.
CONFIG_FILE, INGREDIENTS_FILE = "config.yaml", "ingredients.json"
# Tags with the SHA-256 of the files above, of the model's checksums, and of the test predictions.
CONFIG, INGREDIENTS, MODEL_FILES, PREDICTIONS = (
    f"sha256.{name}" for name in ("config", "ingredients", "model", "test_predictions")
)
REMEDY = "the run cannot be verified any more"


@dataclass(frozen=True)
class TrainingRecord:
    """What a run says about its training.

    Attributes:
        config: the board with this panel alone.
        repeat: number of the repeat, from 0.
        ingredients: everything that the result depends on, by name, as JSON values.
        hashes: the SHA-256 of the predictions and of the model's checksums, hexadecimal, by tag.
    """

    config: BoardConfig
    repeat: int
    ingredients: dict[str, Any]
    hashes: dict[str, str]

    @property
    def panel(self) -> str:
        """The panel's name."""
        return self.config.panels[0]


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


def write_record(folder: Path, job: PanelJob, fitted: FittedPanel) -> dict[str, str]:
    """Write the record of a training to a folder, for the artifacts of its run; return the tags of the run."""
    # The panel's own fields have been merged into its section already, and it is verified where the command runs.
    networks = job.prepared.config.select_networks(job.panel)
    config = job.prepared.config.model_copy(update={"panels": (job.panel,), "networks": networks, "pools": {}})
    texts = {
        CONFIG: (CONFIG_FILE, write_board(config)),
        INGREDIENTS: (INGREDIENTS_FILE, json.dumps(fitted.ingredients, indent=1, sort_keys=True)),
    }
    for name, text in texts.values():
        (folder / name).write_text(text, encoding="utf-8")
    hashes = {tag: hash_bytes(text.encode()) for tag, (_, text) in texts.items()}
    return hashes | {MODEL_FILES: hash_bytes((fitted.folder / CHECKSUMS).read_bytes())}


def load_record(run: Run) -> TrainingRecord:
    """Return the record of a panel's run.

    Raises:
        ConfigError: the run has none, since it failed, is a cross-validation or an earlier version logged it.
        DamagedFileError: a file of the record is not what was logged.
    """
    tags = read_tags(run)
    if FOLDS in tags:
        raise ConfigError(
            f"run {run.info.run_id} is a cross-validation, which is no single training to repeat: verify one of "
            "split.folds=0"
        )
    if PREDICTIONS not in tags:
        raise ConfigError(
            f"run {run.info.run_id} has no complete record of its training: it did not finish, or an earlier version "
            "logged it; run `triptych compare` again, and verify that run"
        )
    read = _reader(run.info.run_id, tags)
    return TrainingRecord(
        config=read(CONFIG_FILE, CONFIG, read_board),
        repeat=int(tags[REPEAT]),
        ingredients=read(INGREDIENTS_FILE, INGREDIENTS, json.loads),
        hashes={tag: tags[tag] for tag in (PREDICTIONS, MODEL_FILES)},
    )


def _reader(run_id: str, tags: Mapping[str, str]) -> Callable[..., Any]:
    """Return a function that reads a file of a run, after comparing its hash with that in a tag."""

    def read(name: str, tag: str, parse: Callable[[str], Any]) -> Any:
        place = Path(f"runs:/{run_id}/{name}")
        try:
            content = mlflow.artifacts.load_text(f"runs:/{run_id}/{name}")
        except (MlflowException, OSError, UnicodeDecodeError) as error:
            raise DamagedFileError(place, "it cannot be read", REMEDY) from error
        if hash_bytes(content.encode()) != tags.get(tag):
            raise DamagedFileError(place, "its SHA-256 is not that of the run's tag", REMEDY)
        return parse(content)

    return read


def hash_bytes(content: bytes) -> str:
    """Return the SHA-256 of bytes, hexadecimal."""
    return hashlib.sha256(content).hexdigest()
