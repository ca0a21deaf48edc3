from __future__ import annotations

import subprocess
import sys

CODE = """
import sys
from triptych.networks.light_torchvision import models
from triptych.networks.backbones import build_network
assert models.get_model("shufflenet_v2_x0_5")
assert all(value.is_meta for value in build_network("mobilenet_v2", empty=True).parameters())
print([name for name in ("torch._dynamo", "torch._dynamo.utils", "torch._inductor", "sympy") if name in sys.modules])
import torch, torchvision.ops
pooled = torchvision.ops.roi_align(torch.ones(1, 1, 4, 4), [torch.tensor([[0.0, 0.0, 4.0, 4.0]])], 2)
print(pooled.flatten().tolist(), "torch._dynamo.utils" in sys.modules)
"""


def test_the_compiler_is_imported_only_for_what_needs_it() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "[1.0, 1.0, 1.0, 1.0] False"]
