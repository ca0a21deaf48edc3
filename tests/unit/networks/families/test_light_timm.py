from __future__ import annotations

import torch.compiler

from triptych.networks.families.light_timm import _leave, import_timm


def test_timm_is_imported_and_pytorch_is_left_as_it_is() -> None:
    disable = torch.compiler.disable
    assert import_timm().is_model("resnet18")
    assert torch.compiler.disable is disable
    assert _leave(len) is _leave()(len) is len
