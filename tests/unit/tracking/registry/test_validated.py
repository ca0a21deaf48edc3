from __future__ import annotations

import pytest
from mlflow.entities.model_registry import ModelVersion

from triptych.errors import ConfigError
from triptych.tracking.client import connect
from triptych.tracking.registry.validated import load_validated


@pytest.mark.usefixtures("own_store")
def test_a_run_without_validation_predictions_is_named() -> None:
    run = connect().create_run("0")
    with pytest.raises(ConfigError, match="needs the validation predictions of digits/3, and its run has none"):
        load_validated(ModelVersion("digits", "3", 0, run_id=run.info.run_id))
