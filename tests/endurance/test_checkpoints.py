from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers.mlps import NUMPY_MLP, TORCH_MLP
from triptych.training.checkpoints import CheckpointFile

pytestmark = [pytest.mark.endurance, pytest.mark.timeout(600)]


@pytest.mark.parametrize(("network", "kills"), [(NUMPY_MLP, 3), (TORCH_MLP, 1)])
def test_a_training_killed_at_any_moment_ends_in_the_same_bits(network: str, kills: int, tmp_path: Path) -> None:
    command = [sys.executable, str(Path(__file__).parents[1] / "helpers" / "train_until_killed.py"), network]
    expected = subprocess.run(command, capture_output=True, check=True, text=True).stdout.split()[-1]
    command.append(str(tmp_path / "state.npz"))
    checkpoint = CheckpointFile(tmp_path / "state.npz", "killed")
    moments = random.Random(0)  # noqa: S311 - any moments will do
    for _ in range(kills):
        before = checkpoint.count_epochs()
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            for _ in range(before + moments.randrange(1, 30)):
                process.stdout.readline()
            time.sleep(moments.uniform(0.0, 0.01))
            process.kill()
        assert before < checkpoint.count_epochs() < 100
    assert subprocess.run(command, capture_output=True, check=True, text=True).stdout.split()[-1] == expected
