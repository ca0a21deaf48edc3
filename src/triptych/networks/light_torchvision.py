"""torchvision, imported without PyTorch's compiler, which takes longer than all the rest.

Only `torchvision.ops.roi_align`, for detectors, imports the compiler, for a function that it calls while it runs.
All that is used of torchvision is imported from here.
"""

from __future__ import annotations

import sys
from types import ModuleType

COMPILER = "torch._dynamo.utils"


def _is_compile_supported(device_type: str) -> bool:
    """Ask PyTorch's compiler, which is imported now."""
    from torch._dynamo.utils import is_compile_supported

    return bool(is_compile_supported(device_type))


if COMPILER in sys.modules:
    import torchvision.models.feature_extraction
else:
    placeholder = ModuleType(COMPILER)
    placeholder.is_compile_supported = _is_compile_supported  # type: ignore[attr-defined]
    sys.modules[COMPILER] = placeholder
    try:
        import torchvision.models.feature_extraction
    finally:
        del sys.modules[COMPILER]

models, ops = torchvision.models, torchvision.ops
feature_extraction = torchvision.models.feature_extraction
