"""State dicts in files: `.safetensors`, or `.pth` as `torch.save` writes them, read without unpickling code."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from triptych.errors import WeightsError


def read_state(file: Path) -> dict[str, Tensor]:
    """Return a state dict from a `.safetensors` or `.pth` file as float32, without unpickling code.

    Raises:
        WeightsError: the file is missing, damaged, or not a state dict.
    """
    state = _read(file, safetensors.torch.load_file, "cpu")
    return {key: value.float() if value.is_floating_point() else value for key, value in state.items()}


def read_shapes(file: Path) -> dict[str, Tensor]:
    """Return a state dict like `read_state`, with tensors on PyTorch's meta device: shapes without values.

    Raises:
        WeightsError: the file is missing, damaged, or not a state dict.
    """
    return _read(file, _read_safetensors_shapes, "meta")


def _read(file: Path, read_safetensors: Callable[[Path], dict[str, Tensor]], device: str) -> dict[str, Tensor]:
    if not file.is_file():
        raise WeightsError(f"weights file {file} does not exist: check transfer.weights")
    try:
        return read_safetensors(file) if file.suffix == ".safetensors" else _read_pth(file, device)
    except Exception as error:  # each format raises its own errors, which are not documented
        kind = "safetensors" if file.suffix == ".safetensors" else "a state dict, as torch.save writes it"
        raise WeightsError(f"weights file {file} is damaged or not {kind}: replace the file") from error


def _read_safetensors_shapes(file: Path) -> dict[str, Tensor]:
    with safetensors.safe_open(file, framework="pt") as opened:
        return {key: torch.empty(opened.get_slice(key).get_shape(), device="meta") for key in opened.keys()}  # noqa: SIM118 - no mapping


def _read_pth(file: Path, device: str) -> dict[str, Tensor]:
    # Files of PyTorch before 1.6 are no archives, and cannot be mapped.
    content = torch.load(
        file, map_location=device, weights_only=True, mmap=device == "meta" and zipfile.is_zipfile(file)
    )
    state = content.get("state_dict", content)
    if not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError("it holds no state dict")
    return dict(state)
