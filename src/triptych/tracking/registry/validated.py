"""The predictions of the validation images by a registered model, which its run has."""

from __future__ import annotations

from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from triptych.config.schema import NO_GROUPS
from triptych.errors import ConfigError
from triptych.evaluation.predictions import Predictions
from triptych.tracking.artifacts import VALIDATED_ARRAYS, load_logged_predictions
from triptych.tracking.client import connect


def load_validated(version: ModelVersion) -> Predictions:
    """Return the predictions of the validation images by a version.

    Raises:
        ConfigError: there are none, or an earlier version logged them without the groups of its images.
        DamagedFileError: they cannot be read.
    """
    needs = f"--error-at-most needs the validation predictions of {version.name}/{version.version}, and its run has"
    try:
        validated = load_logged_predictions(str(version.run_id), VALIDATED_ARRAYS)
    except (MlflowException, OSError) as error:
        raise ConfigError(f"{needs} none: train again with `triptych compare --fresh` and a validation set") from error
    group_by = connect().get_run(str(version.run_id)).data.params.get("split.group_by", NO_GROUPS)
    if validated.groups is None and group_by != NO_GROUPS:
        raise ConfigError(
            f"{needs} them without their groups (split.group_by={group_by}), as an earlier version logged them: train "
            "again with `triptych compare --fresh`"
        )
    return validated
