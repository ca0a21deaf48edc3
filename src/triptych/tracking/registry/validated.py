"""The predictions of the validation images by a registered model, which its run has."""

from __future__ import annotations

from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from triptych.errors import ConfigError
from triptych.evaluation.predictions import Predictions
from triptych.tracking.artifacts import VALIDATED_ARRAYS, load_logged_predictions


def load_validated(version: ModelVersion) -> Predictions:
    """Return the predictions of the validation images by a version.

    Raises:
        ConfigError: there are none.
        DamagedFileError: they cannot be read.
    """
    try:
        return load_logged_predictions(str(version.run_id), VALIDATED_ARRAYS)
    except (MlflowException, OSError) as error:
        raise ConfigError(
            f"--error-at-most needs the validation predictions of {version.name}/{version.version}, and its run has "
            "none: train again with `triptych compare --fresh` and a validation set"
        ) from error
