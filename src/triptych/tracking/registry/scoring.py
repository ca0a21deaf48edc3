"""What a champion answers for the images of tonight, and which of them it has seen before."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import PIL
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray

from triptych.data.boards import BoardData
from triptych.data.stored import ImageIds
from triptych.errors import DamagedFileError
from triptych.panels.prediction import predict_raw
from triptych.system.checked import read_arrays
from triptych.tracking.artifacts import (
    PREDICTIONS_ARRAYS,
    VALIDATED_ARRAYS,
    load_artifact,
    load_logged_model,
    load_logged_predictions,
)
from triptych.tracking.client import connect
from triptych.tracking.tags import SPLIT_ID, read_tags

IMAGES_FILE, DECODER = "images.npz", "decoder"


@dataclass(frozen=True)
class SeenImages:
    """The images that a model was trained and chosen on.

    Attributes:
        train: (n,) S32, by their content.
        validation: (n,) S32.
    """

    train: ImageIds
    validation: ImageIds


def log_images(run_id: str, data: BoardData) -> None:
    """Log which images each part of the split holds, by their content, in a run."""
    split = data.split
    parts = {"train": split.train, "validation": split.validation, "test": split.test}
    content: dict[str, Any] = {name: data.image_ids[part] for name, part in parts.items()}
    content[DECODER] = np.array(PIL.__version__)
    with TemporaryDirectory() as folder:
        file = Path(folder) / IMAGES_FILE
        np.savez_compressed(file, **content)
        connect().log_artifact(run_id, str(file))


def load_seen(champion: ModelVersion, data: BoardData) -> SeenImages | None:
    """Return the images that a champion was trained and chosen on; None if nobody knows.

    Champions of earlier versions have no list: it is known only if they were trained on tonight's split.

    Raises:
        DamagedFileError: the list cannot be read.
    """
    try:
        images = load_artifact(str(champion.run_id), IMAGES_FILE, read_arrays)
    except (MlflowException, OSError):
        if read_tags(champion).get(SPLIT_ID) != data.prepared.split_id:
            return None
        return SeenImages(data.image_ids[data.split.train], data.image_ids[data.split.validation])
    # Another decoder may give other pixels, by which no image would be known again.
    if images[DECODER].item() != PIL.__version__ and not np.isin(images["train"], data.image_ids).any():
        return None
    return SeenImages(images["train"], images["validation"])


def answer(champion: ModelVersion, data: BoardData, positions: NDArray[np.int64]) -> NDArray[np.str_]:
    """Return the name of the class that a champion predicts for some images of a board, (n,).

    What it predicted when it was evaluated is taken from its run; its model predicts the rest.

    Args:
        champion: a registered version.
        data: the board of tonight.
        positions: (n,) int64, the images.

    Raises:
        MlflowException: its model no longer exists.
        DamagedFileError: its model is damaged.
    """
    known = _recall_answers(str(champion.run_id))
    ids = data.image_ids[positions].tolist()
    unknown = np.array([index for index, image in enumerate(ids) if image not in known], dtype=np.int64)
    if len(unknown):
        model = load_logged_model(f"models:/{champion.name}/{champion.version}")
        probabilities = predict_raw(model.get_raw_model(), data, None, positions[unknown])
        classes = np.asarray((model.metadata.metadata or {}).get("classes", data.prepared.classes))
        guesses = classes[probabilities.argmax(axis=1)].tolist()
        known |= {ids[index]: guess for index, guess in zip(unknown.tolist(), guesses, strict=True)}
    return np.asarray([known[image] for image in ids], dtype=np.str_)


def _recall_answers(run_id: str) -> dict[bytes, str]:
    answers: dict[bytes, str] = {}
    for file in (PREDICTIONS_ARRAYS, VALIDATED_ARRAYS):
        try:
            answers |= load_logged_predictions(run_id, file).answers()
        except (MlflowException, OSError, DamagedFileError):  # of an earlier version, deleted or damaged
            continue
    return answers
