"""Panels load in processes where nothing but their own requirements can be imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from helpers.panels import BUILDERS, CLASSES
from triptych.networks.saved import copy_package, save_model
from triptych.panels.kinds import KINDS

# The copied package comes first, and whatever the panel does not name among its requirements can't be imported.
LOAD_ALONE = """
import sys
forbidden = set(sys.argv[3].split(","))
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in forbidden:
            raise ImportError(name + " is not here")
sys.meta_path.insert(0, Refuse())
sys.path.insert(0, sys.argv[1])
import numpy as np
from triptych.networks import saved
assert saved.__file__.startswith(sys.argv[1]), saved.__file__
print(saved._load_pyfunc(sys.argv[2]).predict(np.zeros((2, 8, 8, 3), np.uint8)).shape)
"""


# Whatever else this project imports, by the name of its distribution. scikit-learn needs scipy and threadpoolctl.
MODULES = {
    "vl-convert-python": "vl_convert",
    "prefect": "prefect",
    "pydantic": "pydantic",
    "platformdirs": "platformdirs",
    "filelock": "filelock",
    "rich": "rich",
    "matplotlib": "matplotlib",
    "safetensors": "safetensors",
    "scikit-learn": "sklearn",
    "torch": "torch",
    "torchvision": "torchvision",
}


# PyTorch and torchvision import these themselves, or at least look for them.
NEEDED_BY = {"torch": {"filelock"}, "torchvision": {"filelock", "matplotlib", "scikit-learn"}}


@pytest.mark.parametrize("kind", BUILDERS)
def test_a_panel_loads_with_its_own_few_requirements(kind: str, tmp_path: Path) -> None:
    save_model(kind, BUILDERS[kind](np.random.default_rng(1)), CLASSES, tmp_path / "model")
    package = copy_package(tmp_path / "code")
    needed = set(KINDS[kind].requirements).union(*(NEEDED_BY.get(name, ()) for name in KINDS[kind].requirements))
    forbidden = ",".join(module for name, module in MODULES.items() if name not in needed)
    command = [sys.executable, "-c", LOAD_ALONE, str(package.parent), str(tmp_path / "model"), forbidden]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "(2, 3)", done.stderr
