"""A trained panel on disk: arrays and a small JSON file without pickle, which plain MLflow loads.

Every panel has the same interface: raw images in, (n, height, width, channels) uint8; class probabilities out,
(n, classes) float32, with the class names as columns. Preprocessing is included. This package and `triptych.images`
are saved with the model, so that it loads without triptych installed. A panel that does not use PyTorch loads without
PyTorch. Files and code carry checksums, which are checked first: a damaged model is refused.
"""

from __future__ import annotations

import json
import pkgutil
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from triptych.errors import DamagedFileError, DataError
from triptych.images.pixels import Pixels, check_pixels, scale_pixels, stack_as
from triptych.networks.checksums import CHECKSUMS, REMEDY, check_checksums, reading_model, write_checksums
from triptych.networks.familiar.distances import Familiarity, load_familiarity

if TYPE_CHECKING:
    import pandas as pd

Description = dict[str, Any]

DESCRIPTION, ARRAYS = "model.json", "weights.npz"
# Part of the description. Version 0.1 wrote none, and no checksums.
FORMAT = 2
# A description may name only classes of this package.
HOME = "triptych.networks."
# The parts of triptych that are saved with a model.
SAVED_CODE = ("__init__.py", "errors.py", "networks", "images")
# Version 0.1 saved a kind instead of the classes.
NETWORKS_OF_0_1 = {
    "numpy_mlp": ("triptych.networks.saved:PixelNetwork", "triptych.networks.numpy_mlp:NumpyMLP"),
    "torch_mlp": ("triptych.networks.saved:PixelNetwork", "triptych.networks.torch_mlp:TorchMLP"),
    "transfer": ("triptych.networks.head:TransferNetwork", ""),
}


class Classifier(Protocol):
    """Turns rows of scaled pixels into class probabilities, and can be rebuilt from its arrays."""

    @property
    def names(self) -> dict[str, Any]:
        """The keyword arguments of `from_arrays`, as JSON values."""

    @property
    def dtype(self) -> str:
        """Dtype of the rows."""

    def predict_proba(self, features: NDArray[Any]) -> NDArray[Any]:
        """Return class probabilities, (n, classes), of rows (n, inputs)."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything that was fitted, by name."""


class Network(Protocol):
    """Turns raw images into class probabilities, and can be saved."""

    @property
    def feature_shape(self) -> tuple[int, ...]:
        """Height, width and channels where features are pixels; empty where they are an embedding."""

    def predict_images(self, images: Sequence[Pixels] | Pixels) -> NDArray[Any]:
        """Return class probabilities, (n, classes), of raw images, each (height, width, channels) uint8."""

    def extract(self, images: Sequence[Pixels] | Pixels) -> NDArray[Any]:
        """Return the features of raw images, (n, dimension), from which they are classified."""

    def classify(self, features: NDArray[Any]) -> NDArray[Any]:
        """Return class probabilities, (n, classes), of features from `extract`."""

    def save(self, folder: Path) -> Description:
        """Write the arrays to a folder; return what else `load` needs, as JSON values."""

    @classmethod
    def load(cls, folder: Path, description: Description) -> Self:
        """Return the network that `save` wrote."""


@dataclass(frozen=True)
class PixelNetwork:
    """A classifier of pixels together with their preprocessing.

    Attributes:
        network: the classifier of rows of scaled pixels.
        image_shape: (height, width, channels) of its training images; images of other sizes are cropped and resized.
        input_range: how pixels are scaled, a row of `triptych.images.pixels.INPUT_RANGES`.
    """

    network: Classifier
    image_shape: tuple[int, int, int]
    input_range: str = "symmetric"

    @property
    def feature_shape(self) -> tuple[int, ...]:
        """That of the images."""
        return self.image_shape

    def predict_images(self, images: Sequence[Pixels] | Pixels) -> NDArray[Any]:
        """Return class probabilities, (n, classes), of raw images, each (height, width, channels) uint8."""
        return self.classify(self.extract(images))

    def extract(self, images: Sequence[Pixels] | Pixels) -> NDArray[Any]:
        """Return the scaled pixels of raw images, (n, inputs)."""
        return scale_pixels(stack_as(images, self.image_shape), self.network.dtype, self.input_range)

    def classify(self, features: NDArray[Any]) -> NDArray[Any]:
        """Return class probabilities, (n, classes), of scaled pixels (n, inputs)."""
        return self.network.predict_proba(features)

    def save(self, folder: Path) -> Description:
        """Write the classifier's arrays to a folder; return what else `load` needs, as JSON values."""
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
        """Return the network that `save` wrote."""
        classifier = find_class(description["classifier"])
        height, width, channels = description["image_shape"]
        network = classifier.from_arrays(_read_arrays(folder), **description["names"])
        return cls(network, (height, width, channels), description["input_range"])


@dataclass(frozen=True)
class ServedModel:
    """A loaded panel, with the interface that MLflow expects of a model.

    Attributes:
        network: the panel.
        classes: the class names, in the order of the probabilities.
        familiarity: recognises foreign images; None for models of earlier versions, and without a validation set.
    """

    network: Network
    classes: tuple[str, ...]
    familiarity: Familiarity | None = None

    def predict(self, images: ArrayLike, params: dict[str, Any] | None = None) -> pd.DataFrame:  # noqa: ARG002 - MLflow's
        """Return class probabilities, (n, classes) float32, with the class names as columns.

        Args:
            images: (n, height, width, channels) whole numbers, 0..255; MLflow's server sends them as int64.
            params: ignored.

        Raises:
            MlflowException: the images are none, or of another size than the network takes. MLflow's server answers
                this error with status 400 and its message, and hides that of any other.
        """
        import pandas as pd  # comes with MLflow, and takes a second

        try:
            probabilities = np.asarray(self.network.predict_images(check_pixels(images)), dtype=np.float32)
        except DataError as error:
            from mlflow.exceptions import MlflowException

            raise MlflowException.invalid_parameter_value(str(error)) from error
        return pd.DataFrame(probabilities, columns=list(self.classes))

    def get_raw_model(self) -> Network:
        """Return the panel itself, which also accepts a list of images of different sizes."""
        return self.network


def save_model(
    kind: str, network: Network, classes: Sequence[str], folder: Path, familiarity: Familiarity | None = None
) -> None:
    """Write a trained panel to a new folder.

    Args:
        kind: the kind of panel, for readers and exporters.
        network: the panel.
        classes: the class names.
        folder: must not exist.
        familiarity: recognises foreign images, if there is a validation set.
    """
    folder.mkdir(parents=True)
    about = {"format": FORMAT, "kind": kind, "network": name_class(network), "classes": list(classes)}
    content = {**about, **network.save(folder)}
    (folder / DESCRIPTION).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    if familiarity:
        familiarity.save(folder)
    write_checksums(folder)


def load_model(folder: Path) -> ServedModel:
    """Return the panel that `save_model` wrote to a folder, in this version or 0.1.

    Raises:
        DamagedFileError: a file is not what was saved, or a newer version saved it.

    >>> import tempfile
    >>> from triptych.networks.numpy_mlp import NumpyMLP
    >>> network = PixelNetwork(NumpyMLP([(np.zeros((2, 4)), np.zeros(2))]), image_shape=(2, 2, 1))
    >>> with tempfile.TemporaryDirectory() as parent:
    ...     save_model("numpy_mlp", network, ("cat", "dog"), Path(parent) / "model")
    ...     model = load_model(Path(parent) / "model")
    >>> model.predict(np.zeros((1, 2, 2, 1), np.uint8))
       cat  dog
    0  0.5  0.5
    """
    # Of the code that travels with a model; the installed package has no such file.
    check_checksums(Path(__file__).parents[1])
    check_checksums(folder)
    description = read_description(folder)
    network: type[Network] = find_class(description["network"])
    loaded = network.load(folder, description)
    return ServedModel(loaded, tuple(description["classes"]), load_familiarity(folder))


def read_description(folder: Path) -> Description:
    """Return the description that `save_model` wrote, completed with class names if version 0.1 wrote it.

    Raises:
        DamagedFileError: it cannot be read, or a newer version wrote it.
    """
    with reading_model(folder / DESCRIPTION):
        description: Description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        found = int(description.get("format", 1))
        if "network" not in description:
            description["network"], description["classifier"] = NETWORKS_OF_0_1[description["kind"]]
    if found > FORMAT:
        remedy = "load it with a newer version of triptych"
        raise DamagedFileError(folder / DESCRIPTION, f"format {found}, but at most {FORMAT} is known", remedy)
    if found > 1 and not (folder / CHECKSUMS).is_file():
        raise DamagedFileError(folder / CHECKSUMS, "it is missing", REMEDY)
    return description


def list_packages(folder: Path) -> list[str]:
    """Return the distributions that the networks of a saved panel need besides those of its kind."""
    description = read_description(folder)
    each = [description, *description.get("backbones", ())]
    return sorted({package for one in each for package in one.get("packages", ())})


def _load_pyfunc(path: str) -> ServedModel:
    """Load a panel for MLflow, which looks for a function of this name."""
    # A fetched model has checksums of all its files.
    check_checksums(Path(path).parents[1], complete=False)
    return load_model(Path(path))


def name_class(instance: object) -> str:
    """Return the name of an object's class, for `find_class`.

    >>> name_class(ServedModel(None, ()))
    'triptych.networks.saved:ServedModel'
    """
    return f"{type(instance).__module__}:{type(instance).__qualname__}"


def find_class(name: str) -> Any:
    """Return the class with a name from `name_class`.

    Raises:
        ValueError: the class is not in this package.

    >>> find_class("triptych.networks.saved:ServedModel").__name__
    'ServedModel'
    """
    try:
        found = pkgutil.resolve_name(name) if name.startswith(HOME) else None
    except (ImportError, AttributeError, ValueError):
        found = None
    # A dotted name could lead out of the package again.
    if not isinstance(found, type) or not found.__module__.startswith(HOME):
        raise ValueError(
            f"a saved model names the class {name!r}, which is not one of {HOME}*: its files were modified, "
            "so save or fetch it again"
        )
    return found


def copy_package(folder: Path) -> Path:
    """Copy the parts of triptych that saved models need into a folder; return the copied package."""
    package = folder / "triptych"
    package.mkdir(parents=True)
    here = Path(__file__).parents[1]
    for name in SAVED_CODE:
        if (here / name).is_dir():
            shutil.copytree(here / name, package / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(here / name, package)
    write_checksums(package)
    return package


def _read_arrays(folder: Path) -> dict[str, NDArray[Any]]:
    if (folder / ARRAYS).is_file():
        with reading_model(folder / ARRAYS), np.load(folder / ARRAYS, allow_pickle=False) as arrays:
            return dict(arrays)
    # Version 0.1 saved the PyTorch network in this file.
    from safetensors.numpy import load_file

    with reading_model(folder / "weights.safetensors"):
        return dict(load_file(folder / "weights.safetensors"))
