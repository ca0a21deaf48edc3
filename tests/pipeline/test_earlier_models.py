"""Models that version 0.1.0 logged: they name `triptych.served` as their loader, and carry modules of that version."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pytest
from numpy.typing import NDArray

MODELS = Path(__file__).parents[1] / "data" / "models-0.1.0"
# The largest difference allowed in a probability: products of matrices by PyTorch may be summed in another order.
TOLERANCES = {"numpy-mlp": 0.0, "torch-mlp": 1e-6}
LOAD_ALONE = """
import sys
import mlflow
import numpy as np
model = mlflow.pyfunc.load_model(sys.argv[1])
assert sys.modules["triptych"].__file__.startswith(sys.argv[1]), sys.modules["triptych"]
np.save(sys.argv[3], model.predict(np.load(sys.argv[2])["images"]))
"""


def check(panel: str, probabilities: NDArray[np.float32]) -> None:
    with np.load(MODELS / "digits.npz") as expected:
        np.testing.assert_allclose(probabilities, expected[panel], rtol=0, atol=TOLERANCES[panel])
        assert probabilities.dtype == expected[panel].dtype


@pytest.mark.parametrize("panel", TOLERANCES)
def test_the_installed_package_loads_them(panel: str) -> None:
    import triptych.served

    model = mlflow.pyfunc.load_model(str(MODELS / panel))
    assert not Path(triptych.served.__file__).is_relative_to(MODELS)
    with np.load(MODELS / "digits.npz") as given:
        check(panel, model.predict(given["images"]).to_numpy())


@pytest.mark.parametrize("panel", TOLERANCES)
def test_another_process_loads_them_with_the_modules_that_they_carry(panel: str, tmp_path: Path) -> None:
    arguments = [str(MODELS / panel), str(MODELS / "digits.npz"), str(tmp_path / "probabilities.npy")]
    subprocess.run([sys.executable, "-c", LOAD_ALONE, *arguments], check=True, capture_output=True)
    check(panel, np.load(tmp_path / "probabilities.npy"))
