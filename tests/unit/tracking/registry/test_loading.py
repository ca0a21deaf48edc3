from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers.comparisons import Recorded
from triptych.errors import ConfigError
from triptych.images.depth import WHITE
from triptych.tracking.artifacts import load_logged_model
from triptych.tracking.client import connect
from triptych.tracking.registry.champions import register_panel
from triptych.tracking.registry.loading import load_version
from triptych.tracking.registry.versions import find_version

FOREIGN = "flavors:\n  python_function:\n    loader_module: mlflow.sklearn\n    model_path: model.skops\n"


def test_a_version_predicts_as_mlflow_loads_it(recorded: Recorded) -> None:
    register_panel(recorded.comparison.prepared, recorded.panel)
    loaded, model = load_version(find_version("digits-numpy-mlp/1")), load_logged_model(recorded.panel.model_uri)
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), dtype=np.uint8)
    np.testing.assert_array_equal(loaded.network.predict_images(images), model.predict(images).to_numpy())
    assert loaded.classes == tuple(model.metadata.metadata["classes"])
    assert loaded.white_level == WHITE


def test_what_cannot_be_loaded_is_refused(recorded: Recorded, tmp_path: Path) -> None:
    register_panel(recorded.comparison.prepared, recorded.panel)
    gone = connect().create_model_version("digits-numpy-mlp", str(tmp_path / "gone"))
    with pytest.raises(ConfigError, match="train again with `triptych compare --fresh`"):
        load_version(gone)
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "MLmodel").write_text(FOREIGN, encoding="utf-8")
    foreign = connect().create_model_version("digits-numpy-mlp", str(tmp_path / "foreign"))
    with pytest.raises(ConfigError, match=r"numpy-mlp/3 was not trained by triptych: load it with mlflow\.pyfunc"):
        load_version(foreign)
