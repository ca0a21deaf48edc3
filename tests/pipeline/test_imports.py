"""What a training leaves unimported, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from helpers.mlps import TORCH_MLP


def test_a_training_imports_nothing_of_pytorchs_compiler() -> None:
    trained = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[1] / "helpers")!r})
sys.argv = ["train", {TORCH_MLP!r}]
import train_until_killed
train_until_killed.main()
print([name for name in ("torch._dynamo", "torch._inductor", "sympy") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", trained], capture_output=True, check=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"
