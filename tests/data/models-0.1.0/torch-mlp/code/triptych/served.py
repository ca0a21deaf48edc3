"""A trained panel on disk: arrays and a small JSON file, no pickle, loaded by plain MLflow.

Every panel has one interface: raw images in, (n, height, width, channels) uint8; class probabilities out,
(n, classes) float32; the preprocessing is inside. The modules that a panel needs travel with it, so that it
loads where this package is not installed, and a panel without PyTorch loads where PyTorch is not.
"""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from triptych.images import Pixels, scale_pixels, stack_as

Probabilities = NDArray[np.float32]
DESCRIPTION = "model.json"

# What each kind of panel takes along of this package, and what it needs of others.
MODULES = {
    "numpy_mlp": (
        "__init__",
        "errors",
        "mapping",
        "images",
        "mlp",
        "training",
        "served",
        "numpy_functions",
        "numpy_mlp",
    ),
    "torch_mlp": (
        *("__init__", "errors", "mapping", "images", "mlp", "training", "served"),
        *("gradient_descent", "linear_layers", "torch_state", "torch_mlp"),
    ),
    "transfer": (
        *("__init__", "errors", "mapping", "images", "mlp", "training", "served"),
        *("files", "checkpoints", "training_loop", "preprocessing", "number_formats"),
        *("gradient_descent", "linear_layers", "torch_state", "backbone_names", "backbones", "transfer"),
    ),
}
REQUIREMENTS = {
    "numpy_mlp": ("numpy", "pillow"),
    "torch_mlp": ("numpy", "pillow", "torch", "safetensors"),
    "transfer": ("numpy", "pillow", "torch", "torchvision", "safetensors"),
}


class MLP(Protocol):
    """What `NumpyMLP` and `TorchMLP` have in common."""

    names: dict[str, str]

    @property
    def layers(self) -> Sequence[Any]:
        """Weight (outputs, inputs) and bias (outputs,) of each layer."""

    def predict_proba(self, features: NDArray[Any]) -> NDArray[Any]:
        """Return class probabilities, (n, classes)."""


class Network(Protocol):
    """Anything that turns raw images into class probabilities."""

    def predict_images(self, images: Sequence[Pixels] | Pixels) -> NDArray[Any]:
        """Return class probabilities, (n, classes), of raw images (height, width, channels) uint8."""


@dataclass(frozen=True)
class PixelNetwork:
    """A multilayer perceptron behind the scaling of pixels.

    Attributes:
        network: takes rows of scaled pixels.
        image_shape: (height, width, channels) that it was trained on; other sizes are cut to a thumbnail.
        input_range: how pixels are scaled, a row of `triptych.images.INPUT_RANGES`.
    """

    network: MLP
    image_shape: tuple[int, int, int]
    input_range: str = "symmetric"

    def predict_images(self, images: Sequence[Pixels] | Pixels) -> NDArray[Any]:
        """Return class probabilities, (n, classes), of raw images (height, width, channels) uint8."""
        dtype = str(self.network.layers[0][0].dtype)
        return self.network.predict_proba(scale_pixels(stack_as(images, self.image_shape), dtype, self.input_range))


@dataclass(frozen=True)
class ServedModel:
    """What MLflow holds after `load_model`.

    Attributes:
        network: the panel.
        classes: the class names, in order of the probabilities.
    """

    network: Network
    classes: tuple[str, ...]

    def predict(self, images: Pixels, params: dict[str, Any] | None = None) -> Probabilities:
        """Return class probabilities, (n, classes) float32.

        Args:
            images: (n, height, width, channels) uint8.
            params: none are taken.
        """
        del params
        return np.asarray(self.network.predict_images(images), dtype=np.float32)

    def get_raw_model(self) -> Network:
        """Return the panel itself, which also takes a list of images of different sizes."""
        return self.network


def save_mlp(kind: str, network: PixelNetwork, classes: Sequence[str], folder: Path) -> None:
    """Write one of the two multilayer perceptrons to a folder.

    Args:
        kind: "numpy_mlp" or "torch_mlp".
        network: the trained network.
        classes: the class names.
        folder: is created.
    """
    arrays = {
        f"{name}_{number}": np.ascontiguousarray(array)
        for number, layer in enumerate(network.network.layers, start=1)
        for name, array in zip(("weight", "bias"), layer, strict=True)
    }
    folder.mkdir(parents=True)
    WRITERS[kind](folder, arrays)
    description = {
        "image_shape": network.image_shape,
        "input_range": network.input_range,
        "names": network.network.names,
    }
    _write_description(folder, kind, classes, description)


def save_transfer(network: Any, classes: Sequence[str], folder: Path) -> None:
    """Write a frozen network (`triptych.transfer.TransferNetwork`) and its head to a folder."""
    from safetensors.torch import save_file

    backbone = network.backbone
    folder.mkdir(parents=True)
    trunk = {key: value.contiguous() for key, value in backbone.trunk.state_dict().items()}
    save_file(trunk, folder / "backbone.safetensors")
    save_file(network.head.linear.state_dict(), folder / "head.safetensors")
    description = {
        "backbone": backbone.name,
        "weights": backbone.weights,
        "preprocessing": asdict(backbone.preprocessing),
        "batch_size": network.batch_size,
        "number_format": backbone.number_format,
    }
    _write_description(folder, "transfer", classes, description)


def load_model(folder: Path) -> ServedModel:
    """Return the panel that one of the functions above wrote."""
    description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    network = LOADERS[description["kind"]](folder, description)
    return ServedModel(network, tuple(description["classes"]))


def _load_pyfunc(path: str) -> ServedModel:
    """Load a panel for MLflow, which looks for a function of this name."""
    return load_model(Path(path))


def copy_modules(kind: str, folder: Path) -> Path:
    """Copy the modules that a kind of panel needs into `folder`; return the copied package."""
    package = folder / "triptych"
    package.mkdir(parents=True)
    for module in MODULES[kind]:
        shutil.copy2(Path(__file__).with_name(f"{module}.py"), package)
    return package


def _write_description(folder: Path, kind: str, classes: Sequence[str], fields: dict[str, Any]) -> None:
    content = {"kind": kind, "classes": list(classes), **fields}
    (folder / DESCRIPTION).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _write_npz(folder: Path, arrays: dict[str, NDArray[Any]]) -> None:
    np.savez(folder / "weights.npz", **arrays)  # type: ignore[arg-type]  # NumPy's stub takes every keyword for a flag


def _write_safetensors(folder: Path, arrays: dict[str, NDArray[Any]]) -> None:
    from safetensors.numpy import save_file

    save_file(arrays, folder / "weights.safetensors")


def _load_numpy_mlp(folder: Path, description: dict[str, Any]) -> Network:
    with np.load(folder / "weights.npz", allow_pickle=False) as arrays:
        return _build_pixel_network("numpy_mlp", "NumpyMLP", dict(arrays), description)


def _load_torch_mlp(folder: Path, description: dict[str, Any]) -> Network:
    from safetensors.numpy import load_file

    arrays = load_file(folder / "weights.safetensors")
    return _build_pixel_network("torch_mlp", "TorchMLP", arrays, description)


def _build_pixel_network(
    module: str, name: str, arrays: dict[str, NDArray[Any]], description: dict[str, Any]
) -> PixelNetwork:
    layers = [(arrays[f"weight_{number}"], arrays[f"bias_{number}"]) for number in range(1, len(arrays) // 2 + 1)]
    network = getattr(importlib.import_module(f"triptych.{module}"), name)
    height, width, channels = description["image_shape"]
    return PixelNetwork(network(layers, **description["names"]), (height, width, channels), description["input_range"])


def _load_transfer(folder: Path, description: dict[str, Any]) -> Network:
    from safetensors.torch import load_file

    from triptych.backbones import assemble_backbone
    from triptych.linear_layers import hold_weights
    from triptych.number_formats import find_device
    from triptych.preprocessing import Preprocessing
    from triptych.transfer import Head, TransferNetwork

    given = description["preprocessing"]
    preprocessing = Preprocessing(**{**given, "mean": tuple(given["mean"]), "std": tuple(given["std"])})
    trunk = load_file(folder / "backbone.safetensors")
    backbone = assemble_backbone(description["backbone"], description["weights"], preprocessing, trunk, trunk_only=True)
    state = load_file(folder / "head.safetensors")
    linear = hold_weights(state["weight"], state["bias"])
    computed = backbone.on_device(find_device()).in_format(description["number_format"])
    return TransferNetwork(computed, Head(linear), description["batch_size"])


WRITERS = {"numpy_mlp": _write_npz, "torch_mlp": _write_safetensors}
LOADERS = {"numpy_mlp": _load_numpy_mlp, "torch_mlp": _load_torch_mlp, "transfer": _load_transfer}
