from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from triptych.transfer.state_files import read_shapes, read_state


@pytest.mark.parametrize("kind", ["safetensors", "pth", "old pth"])
def test_shapes_are_read_without_values_from_every_format(tmp_path: Path, kind: str) -> None:
    state = {"a": torch.arange(6.0).reshape(2, 3).half(), "b": torch.tensor(3)}
    file = tmp_path / ("w.safetensors" if kind == "safetensors" else "w.pth")
    if kind == "safetensors":
        save_file(state, file)
    else:
        torch.save({"state_dict": state}, file, _use_new_zipfile_serialization=kind == "pth")
    read, shapes = read_state(file), read_shapes(file)
    assert read["a"].dtype == torch.float32
    assert torch.equal(read["a"], state["a"].float())
    assert {key: value.shape for key, value in shapes.items()} == {"a": (2, 3), "b": ()}
    assert all(value.is_meta for value in shapes.values())
