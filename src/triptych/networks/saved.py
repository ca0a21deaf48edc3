"""A trained panel on disk: arrays and a small JSON file, no pickle, loaded by plain MLflow.

Every panel has one interface: raw images in, (n, height, width, channels) uint8; class probabilities out,
(n, classes) float32; the preprocessing is inside. This package and `triptych.images` travel with the model, so that it
loads where triptych is not installed, and a panel without PyTorch loads where PyTorch is not.
"""

from __future__ import annotations

import json
import pkgutil
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from triptych.images.pixels import Pixels, scale_pixels, stack_as

Probabilities = NDArray[np.float32]
Description = dict[str, Any]

DESCRIPTION, ARRAYS = "model.json", "weights.npz"
# The classes that a description may name lie below.
HOME = "triptych.networks."
# What travels with a model of the package itself.
TRAVELLING = ("__init__.py", "errors.py", "networks", "images")
# Models of version 0.1 name no classes: what their `kind` stood for.
NETWORKS_OF_0_1 = {
    "numpy_mlp": ("triptych.networks.saved:PixelNetwork", "triptych.networks.numpy_mlp:NumpyMLP"),
    "torch_mlp": ("triptych.networks.saved:PixelNetwork", "triptych.networks.torch_mlp:TorchMLP"),
    "transfer": ("triptych.networks.head:TransferNetwork", ""),
}


class Classifier(Protocol):
    """Turns rows of scaled pixels into probabilities, and can be built again from its arrays."""

    @property
    def names(self) -> dict[str, Any]:
        """The keyword arguments of `from_arrays`, as JSON values."""

    @property
    def dtype(self) -> str:
        """Number format of the rows that it takes."""

    def predict_proba(self, features: NDArray[Any]) -> NDArray[Any]:
        """Return class probabilities, (n, classes), of rows (n, inputs)."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything that was fitted, by name."""


class Network(Protocol):
    """Anything that turns raw images into class probabilities, and can be saved."""

    def predict_images(self, images: Sequence[Pixels] | Pixels) -> NDArray[Any]:
        """Return class probabilities, (n, classes), of raw images (height, width, channels) uint8."""

    def save(self, folder: Path) -> Description:
        """Write the arrays to a folder; return what `load` needs beside them, as JSON values."""

    @classmethod
    def load(cls, folder: Path, description: Description) -> Self:
        """Return what `save` wrote."""


@dataclass(frozen=True)
class PixelNetwork:
    """A classifier of pixels behind their scaling.

    Attributes:
        network: takes rows of scaled pixels.
        image_shape: (height, width, channels) that it was trained on; other sizes are cut to a thumbnail.
        input_range: how pixels are scaled, a row of `triptych.images.pixels.INPUT_RANGES`.
    """

    network: Classifier
    image_shape: tuple[int, int, int]
    input_range: str = "symmetric"

    def predict_images(self, images: Sequence[Pixels] | Pixels) -> NDArray[Any]:
        """Return class probabilities, (n, classes), of raw images (height, width, channels) uint8."""
        rows = scale_pixels(stack_as(images, self.image_shape), self.network.dtype, self.input_range)
        return self.network.predict_proba(rows)

    def save(self, folder: Path) -> Description:
        """Write the classifier's arrays to a folder; return its class and what else it needs."""
        arrays: dict[str, Any] = {name: np.ascontiguousarray(array) for name, array in self.network.arrays().items()}
        np.savez_compressed(folder / ARRAYS, **arrays)
        return {
            "classifier": name_class(self.network),
            "image_shape": self.image_shape,
            "input_range": self.input_range,
            "names": self.network.names,
        }

    @classmethod
    def load(cls, folder: Path, description: Description) -> Self:
        """Return what `save` wrote."""
        classifier = find_class(description["classifier"])
        height, width, channels = description["image_shape"]
        network = classifier.from_arrays(_read_arrays(folder), **description["names"])
        return cls(network, (height, width, channels), description["input_range"])


@dataclass(frozen=True)
class ServedModel:
    """What MLflow holds after `load_model`.

    Attributes:
        network: the panel.
        classes: the class names, in order of the probabilities.
    """

    network: Network
    classes: tuple[str, ...]

    def predict(self, images: Pixels, params: dict[str, Any] | None = None) -> Probabilities:  # noqa: ARG002 - MLflow's
        """Return class probabilities, (n, classes) float32.

        Args:
            images: (n, height, width, channels) uint8.
            params: none are taken.
        """
        return np.asarray(self.network.predict_images(images), dtype=np.float32)

    def get_raw_model(self) -> Network:
        """Return the panel itself, which also takes a list of images of different sizes."""
        return self.network


def save_model(kind: str, network: Network, classes: Sequence[str], folder: Path) -> None:
    """Write a trained panel to a folder.

    Args:
        kind: of the panel, for readers and exporters.
        network: the panel.
        classes: the class names.
        folder: is created.
    """
    folder.mkdir(parents=True)
    content = {"kind": kind, "network": name_class(network), "classes": list(classes), **network.save(folder)}
    (folder / DESCRIPTION).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def load_model(folder: Path) -> ServedModel:
    """Return the panel that `save_model`, or version 0.1, wrote."""
    description = read_description(folder)
    network: type[Network] = find_class(description["network"])
    return ServedModel(network.load(folder, description), tuple(description["classes"]))


def read_description(folder: Path) -> Description:
    """Return what `save_model` wrote beside the arrays."""
    description: Description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    if "network" not in description:
        description["network"], description["classifier"] = NETWORKS_OF_0_1[description["kind"]]
    return description


def _load_pyfunc(path: str) -> ServedModel:
    """Load a panel for MLflow, which looks for a function of this name."""
    return load_model(Path(path))


def name_class(instance: object) -> str:
    """Return the class of an object as `find_class` takes it.

    >>> name_class(ServedModel(None, ()))
    'triptych.networks.saved:ServedModel'
    """
    return f"{type(instance).__module__}:{type(instance).__qualname__}"


def find_class(name: str) -> Any:
    """Return the class of a name; only those of this package are loaded.

    Raises:
        ValueError: it is a class of another package.
    """
    if not name.startswith(HOME):
        raise ValueError(f"a saved model names the class {name!r}, which is not one of {HOME}*: it was changed")
    return pkgutil.resolve_name(name)


def copy_package(folder: Path) -> Path:
    """Copy what models need of this package into `folder`; return the copied package."""
    package = folder / "triptych"
    package.mkdir(parents=True)
    here = Path(__file__).parents[1]
    for name in TRAVELLING:
        if (here / name).is_dir():
            shutil.copytree(here / name, package / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(here / name, package)
    return package


def _read_arrays(folder: Path) -> dict[str, NDArray[Any]]:
    if (folder / ARRAYS).is_file():
        with np.load(folder / ARRAYS, allow_pickle=False) as arrays:
            return dict(arrays)
    # Version 0.1 wrote the network in PyTorch so.
    from safetensors.numpy import load_file

    return dict(load_file(folder / "weights.safetensors"))
