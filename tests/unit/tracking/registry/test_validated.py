from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mlflow.entities import Param
from mlflow.entities.model_registry import ModelVersion

from triptych.errors import ConfigError
from triptych.evaluation.predictions import Predictions, save_predictions
from triptych.tracking.artifacts import VALIDATED_ARRAYS
from triptych.tracking.client import connect
from triptych.tracking.registry.validated import load_validated


@pytest.mark.usefixtures("own_store")
def test_a_run_without_validation_predictions_is_named() -> None:
    run = connect().create_run("0")
    with pytest.raises(ConfigError, match="needs the validation predictions of digits/3, and its run has none"):
        load_validated(ModelVersion("digits", "3", 0, run_id=run.info.run_id))


@pytest.mark.usefixtures("own_store")
def test_the_groups_of_an_earlier_version_are_missed(tmp_path: Path) -> None:
    client, file = connect(), tmp_path / VALIDATED_ARRAYS
    experiment = client.create_experiment("digits", artifact_location=str(tmp_path / "artifacts"))
    run_id = client.create_run(experiment).info.run_id
    client.log_batch(run_id, params=[Param("split.group_by", "minute")])
    version = ModelVersion("digits", "3", 0, run_id=run_id)
    for groups in (None, np.arange(2)):
        save_predictions(Predictions(np.arange(2), np.zeros(2, np.int64), np.eye(2), groups=groups), file)
        client.log_artifact(run_id, str(file))
        if groups is None:
            with pytest.raises(ConfigError, match=r"without their groups \(split\.group_by=minute\).* --fresh"):
                load_validated(version)
    np.testing.assert_array_equal(load_validated(version).groups, groups)
