"""Names of trainings, by which an interrupted one is continued and a finished one is reused.

The name is a hash of everything that the result depends on: the data, the split, the settings, the seed, the
embeddings, the code and the libraries. Code and libraries are found rather than listed: every source file of the
packages that compute results, and every library that one of these files imports. If anything changes, so does the name.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
from collections.abc import Iterator
from functools import cache, partial
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from triptych.config.names import HUGGING_FACE, REGISTERED, TIMM, WEIGHTS_SUFFIXES, list_parts, spell_safely
from triptych.config.schema import BoardConfig
from triptych.data.boards import PreparedBoard
from triptych.errors import DamagedFileError
from triptych.panels.kinds import find_kind, name_kind
from triptych.system.checked import discard, hash_file, recall
from triptych.system.files import touch
from triptych.system.paths import cache_home
from triptych.training.checkpoints import CheckpointFile, load_weights
from triptych.training.jobs import PanelJob, list_jobs
from triptych.transfer.records import EmbeddingRecord
from triptych.transfer.registered import read_origin, registered_folder

CHECKPOINT = "checkpoint.npz"
# The tag of a run or a registered model that holds the name of its training.
TRAINING = "training"
# The packages whose code a result depends on.
PACKAGES = ("networks", "images", "data", "training", "transfer", "panels")
HERE = Path(__file__).parents[1]
IMPORT = re.compile(r"^\s*(?:from|import)\s+(\w+)", re.MULTILINE)
# The packages of networks that are installed on request, by what the names of these networks begin with.
OPTIONAL = {TIMM: ("timm",), HUGGING_FACE: ("timm", "transformers")}
OPTIONAL_IMPORTS = {"huggingface_hub"}.union(*OPTIONAL.values())
# The files of a Hugging Face folder that a network depends on.
FOLDER_SUFFIXES = (".json", ".safetensors")
# Settings that do not change the result.
NOT_IDENTIFYING = {"checkpoint_epochs"}


def identify_training(job: PanelJob, embedded: EmbeddingRecord | None = None) -> str:
    """Return the name of a training: a hash of everything that its result depends on.

    Args:
        job: the panel and its repeat.
        embedded: the record of its embeddings; None if it uses none.
    """
    return f"{spell_safely(job.panel)}-{_hash(list_ingredients(job, embedded))}"


def list_ingredients(job: PanelJob, embedded: EmbeddingRecord | None = None) -> dict[str, Any]:
    """Return everything that the result of a training depends on, by name, as JSON values.

    Args:
        job: the panel and its repeat.
        embedded: the record of its embeddings; None if it uses none.
    """
    config, settings = job.prepared.config, job.settings
    kind = find_kind(config, job.panel)
    return {
        "data": job.prepared.data_digest,
        "pixels": job.prepared.dataset_folder.name,
        "split": job.prepared.split_id,
        "panel": job.panel,
        "kind": name_kind(config, job.panel),
        "settings": settings.model_dump(mode="json", exclude=NOT_IDENTIFYING),
        "class_weights": config.class_weights,
        "surroundings": dict(kind.surroundings(settings)),
        "seed": job.repeat,
        "number_format": embedded.number_format if embedded else "",
        "embeddings": embedded.contents if embedded else (),
        "backbone": embedded.backbone_digest if embedded else "",
        "code": hash_code(HERE),
        "libraries": find_libraries(HERE) | _find_optional(job.panel),
    }


def identify_comparison(prepared: PreparedBoard) -> str:
    """Return the name of a comparison: a hash of everything that its results depend on."""
    return _hash(
        {
            "board": prepared.config.model_dump(mode="json", exclude={"pools"}),
            "trainings": [identify_training(job) for job in list_jobs(prepared)],
            "weights": _identify_weights(prepared.config),
        }
    )


def identify_evaluation(config: BoardConfig) -> str:
    """Return the name of an evaluation: a hash of what its metrics depend on besides the training."""
    settings = config.evaluate.model_dump(mode="json", exclude={"ensemble"})
    return _hash({"settings": settings, "code": hash_code(HERE, ("evaluation",))})


def _identify_weights(config: BoardConfig) -> str:
    """Return what tells pretrained weights apart that have the same name: in files, and in MLflow's registry."""
    used = dict.fromkeys(weights for panel in config.backbone_panels for weights in config.list_weights(panel))
    return "".join(map(_identify_source, used))


def _identify_source(weights: str) -> str:
    if weights.startswith(REGISTERED):
        return recall(lambda: read_origin(registered_folder(weights))) or ""
    file = Path(weights)
    if file.is_dir():
        return "".join(hash_file(one).hex() for one in sorted(file.iterdir()) if one.suffix in FOLDER_SUFFIXES)
    return hash_file(file).hex() if file.suffix in WEIGHTS_SUFFIXES and file.is_file() else ""


def open_checkpoint(
    job: PanelJob, embedded: EmbeddingRecord | None = None, *, with_weights: bool = False
) -> CheckpointFile | None:
    """Return the checkpoint file of a training; None if the settings turn checkpoints off.

    The checkpoints of an earlier training are deleted if the job asks for a fresh one, and a checkpoint that cannot be
    continued from is discarded. The file is marked as used.

    Args:
        job: the panel and its repeat.
        embedded: the record of its embeddings; None if it uses none.
        with_weights: whether the weights of each of its epochs are needed, too.
    """
    name = identify_training(job, embedded)
    folder = cache_home() / "trainings" / name
    if job.fresh_since is not None and not _is_since(folder / CHECKPOINT, job.fresh_since):
        shutil.rmtree(folder, ignore_errors=True)
    every = job.settings.checkpoint_epochs
    touch(folder / CHECKPOINT)
    if not every:
        return None
    checkpoint = CheckpointFile(folder / CHECKPOINT, name, every)
    if checkpoint.belongs_to_another():
        discard(DamagedFileError(checkpoint.file, "it belongs to another training"))
    elif with_weights and not _has_weights(folder, checkpoint.count_epochs()):
        discard(DamagedFileError(checkpoint.file, "the weights of one of its epochs are missing"))
    return checkpoint


def weights_file(job: PanelJob, epoch: int) -> Path:
    """Return the file of the weights of a multilayer perceptron after an epoch, from 1, for the comparison of twins."""
    return _name_weights(cache_home() / "trainings" / identify_training(job), epoch)


def _name_weights(folder: Path, epoch: int) -> Path:
    return folder / "weights" / f"epoch-{epoch:05}.npz"


def has_weights(job: PanelJob, epochs: int) -> bool:
    """Return whether the weights of a multilayer perceptron are kept for each of its epochs."""
    return _has_weights(cache_home() / "trainings" / identify_training(job), epochs)


def _has_weights(folder: Path, epochs: int) -> bool:
    """Return whether the weights of a training are kept for each of its epochs."""
    return all(recall(partial(load_weights, _name_weights(folder, epoch))) for epoch in range(1, epochs + 1))


@cache
def hash_code(package: Path, names: tuple[str, ...] = PACKAGES) -> str:
    """Return the SHA-256 of the paths and contents of all source files in some packages, hexadecimal.

    Args:
        package: the folder of `triptych`.
        names: of its packages.
    """
    digest = hashlib.sha256()
    for file in _list_sources(package, names):
        digest.update(f"{file.relative_to(package).as_posix()}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()


@cache
def find_libraries(package: Path) -> dict[str, str]:
    """Return the version of every installed distribution that a source file in `PACKAGES` imports, by its name.

    Args:
        package: the folder of `triptych`.
    """
    imported = {name for file in _list_sources(package) for name in IMPORT.findall(file.read_text(encoding="utf-8"))}
    installed = packages_distributions()
    own = package.name
    found = {
        distribution
        for name in imported - sys.stdlib_module_names - OPTIONAL_IMPORTS - {own}
        for distribution in installed.get(name, ())
    }
    return {distribution: version(distribution) for distribution in sorted(found)}


def _find_optional(panel: str) -> dict[str, str]:
    """Return the versions of optional packages that a panel may be computed with; installing one changes no other."""
    wanted = {
        package
        for part in list_parts(panel)
        for prefix, packages in OPTIONAL.items()
        if part.startswith(prefix)
        for package in packages
    }
    return {package: version(package) for package in sorted(wanted) if find_spec(package)}


def _list_sources(package: Path, names: tuple[str, ...] = PACKAGES) -> Iterator[Path]:
    for name in names:
        yield from sorted((package / name).rglob("*.py"))


def _hash(depends_on: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()[:24]


def _is_since(file: Path, moment: float) -> bool:
    return file.exists() and file.stat().st_mtime >= moment
