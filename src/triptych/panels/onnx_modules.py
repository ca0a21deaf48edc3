"""Panels as PyTorch modules that compute the same probabilities, for PyTorch's exporter to ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from triptych.errors import ConfigError
from triptych.images.pixels import INPUT_RANGES, Pixels
from triptych.networks.classifiers.nearest_neighbours import NearestNeighbours
from triptych.networks.head import TransferNetwork
from triptych.networks.precision import EXACT, normalise
from triptych.networks.saved import PixelNetwork
from triptych.networks.torch_mlp import TorchMLP, build_network
from triptych.panels.onnx_export import BATCH, INPUT, OPSET, OUTPUT, Export

# The random images that an export is verified on.
NOISE_IMAGES, NOISE_SEED = 6, 0
# A protobuf file is limited to 2 GiB; larger weights are stored in a separate file.
LARGEST_FILE_BYTES = 2**31 - 2**24
# The smallest divisor of `torch.nn.functional.normalize`; the NumPy network divides by the sum itself.
MIN_SUM_OF_TORCH = 1e-12


class Scaling(nn.Module):
    """`triptych.images.pixels.scale_pixels` as a module: raw images to rows of scaled pixels."""

    def __init__(self, input_range: str, dtype: torch.dtype) -> None:
        """Scale to a range that is a row of `INPUT_RANGES`, in a dtype."""
        super().__init__()
        self.low, high = INPUT_RANGES[input_range]
        self.step = (high - self.low) / 255.0
        self.dtype = dtype

    def forward(self, images: Tensor) -> Tensor:
        """Return rows, (batch, height * width * channels), of images (batch, height, width, channels) uint8."""
        return images.flatten(1).to(self.dtype) * self.step + self.low


class NormalisedSigmoids(nn.Module):
    """Sigmoids of logits, divided by their sum over the classes."""

    def __init__(self, min_sum: float) -> None:
        """Divide by at least `min_sum`."""
        super().__init__()
        self.min_sum = min_sum

    def forward(self, logits: Tensor) -> Tensor:
        """Return probabilities, (batch, classes), of logits (batch, classes)."""
        a = torch.sigmoid(logits).clamp_min(torch.finfo(logits.dtype).tiny)
        return a / a.sum(dim=1, keepdim=True).clamp_min(self.min_sum)


class Constant(nn.Module):
    """The same probabilities for every image."""

    probabilities: Tensor

    def __init__(self, probabilities: Tensor) -> None:
        """Register the probabilities, (classes,)."""
        super().__init__()
        self.register_buffer("probabilities", probabilities)

    def forward(self, rows: Tensor) -> Tensor:
        """Return the probabilities for each row, (batch, classes)."""
        zeros = 0.0 * rows.sum(dim=1, keepdim=True)
        return self.probabilities + zeros


class Vote(nn.Module):
    """The share of each class in the votes of the nearest training rows."""

    rows: Tensor
    squares: Tensor
    labels: Tensor
    weights: Tensor | None

    def __init__(self, classifier: NearestNeighbours) -> None:
        """Register the training rows, their labels, and their weights if there are any."""
        super().__init__()
        rows = torch.from_numpy(classifier.rows).double()
        self.neighbours, self.classes = int(classifier.names["neighbours"]), int(classifier.names["classes"])
        self.register_buffer("rows", rows)
        self.register_buffer("squares", (rows * rows).sum(dim=1))
        self.register_buffer("labels", torch.from_numpy(classifier.labels))
        weights = classifier.weights
        self.register_buffer("weights", None if weights is None else torch.from_numpy(weights))

    def forward(self, rows: Tensor) -> Tensor:
        """Return probabilities, (batch, classes), of rows (batch, inputs)."""
        # The square of the row is left out: it is the same for all its distances.
        distances = self.squares - 2.0 * (rows.double() @ self.rows.T)  # (batch, n)
        nearest = torch.topk(distances, self.neighbours, dim=1, largest=False).indices
        votes = nn.functional.one_hot(self.labels[nearest], self.classes).float()  # (batch, neighbours, classes)
        if self.weights is None:
            return votes.mean(dim=1)
        sums = (votes * self.weights[nearest].unsqueeze(2)).sum(dim=1)
        return sums / sums.sum(dim=1, keepdim=True)


class Float32Output(nn.Module):
    """A module whose output is converted to float32."""

    def __init__(self, module: nn.Module) -> None:
        """Wrap a module."""
        super().__init__()
        self.module = module

    def forward(self, images: Tensor) -> Tensor:
        """Return the module's output as float32."""
        probabilities: Tensor = self.module(images)
        return probabilities.float()


def export_mlp(network: PixelNetwork, file: Path) -> Export:
    """Export one of the two multilayer perceptrons, in the dtype of its weights."""
    mlp: Any = network.network
    logits = build_network(mlp.layers, mlp.names["activation"], "cross_entropy")
    outputs: dict[str, nn.Module] = {
        "squared_error": NormalisedSigmoids(MIN_SUM_OF_TORCH if isinstance(mlp, TorchMLP) else 0.0),
        "cross_entropy": nn.Softmax(dim=1),
    }
    return _export_pixels(network, nn.Sequential(logits, outputs[mlp.names["loss"]]), file)


def export_logistic_regression(network: PixelNetwork, file: Path) -> Export:
    """Export logistic regression: a linear layer and its softmax."""
    arrays = network.network.arrays()
    linear = nn.Linear(arrays["weight"].shape[1], arrays["weight"].shape[0])
    linear.load_state_dict({name: torch.from_numpy(arrays[name].copy()) for name in ("weight", "bias")})
    return _export_pixels(network, nn.Sequential(linear, nn.Softmax(dim=1)), file)


def export_most_frequent(network: PixelNetwork, file: Path) -> Export:
    """Export the frequencies of the classes."""
    return _export_pixels(network, Constant(torch.from_numpy(network.network.arrays()["frequencies"])), file)


def export_nearest_neighbours(network: PixelNetwork, file: Path) -> Export:
    """Export the training rows and the vote of the nearest ones.

    Raises:
        ConfigError: the votes are weighted by distance.
    """
    classifier: Any = network.network
    if classifier.names["vote"] != "uniform":
        raise ConfigError(
            "nearest_neighbours.vote = distance cannot be exported to ONNX: fetch it with --format mlflow, or train "
            "with nearest_neighbours.vote=uniform"
        )
    return _export_pixels(network, Vote(classifier), file)


def _export_pixels(network: PixelNetwork, classifier: nn.Module, file: Path) -> Export:
    """Export a classifier of pixels, with the scaling of the pixels inside."""
    number_format = network.network.dtype
    module = nn.Sequential(Scaling(network.input_range, getattr(torch, number_format)), classifier)
    images = draw_noise(network.image_shape)
    _write(module, torch.from_numpy(images), file)
    fields = {
        "input": {
            "name": INPUT,
            "dtype": "uint8",
            "shape": [BATCH, *network.image_shape],
            "description": "raw images (batch, height, width, channels), 0..255, of the size that the panel was "
            "trained on; the model scales them itself",
        },
        "preprocessing": {"inside": True, "scaled_to": INPUT_RANGES[network.input_range]},
        "number_format": {"logged": number_format, "exported": number_format},
    }
    return Export(images, network.predict_images(images), fields)


def export_transfer(network: TransferNetwork, file: Path) -> Export:
    """Export a backbone, its head and the softmax as one model in float32."""
    preprocessing = network.backbone.preprocessing
    crops = draw_noise((preprocessing.crop_size, preprocessing.crop_size, 3))
    inputs = normalise(torch.from_numpy(crops), preprocessing.mean, preprocessing.std).contiguous()
    _write(nn.Sequential(network.backbone.trunk, network.head.linear, nn.Softmax(dim=1)), inputs, file)
    exact = network.backbone.on_device("cpu").in_format(EXACT)
    expected = network.head.predict_proba(exact.embed_crops(crops))
    fields = {
        "input": {
            "name": INPUT,
            "dtype": "float32",
            "shape": [BATCH, *inputs.shape[1:]],
            "description": "preprocessed RGB images (batch, channels, height, width): the shorter side resized to "
            "resize_size with Pillow, the central crop_size x crop_size cropped, divided by 255, minus mean, divided "
            "by std; gray images repeated in three channels",
        },
        "preprocessing": {"inside": False, **preprocessing.as_json()},
        "number_format": _compare_formats(network, crops, expected),
    }
    return Export(inputs.numpy(), expected, fields)


def _write(module: nn.Module, example: Tensor, file: Path) -> None:
    """Write a module as an ONNX model with a variable batch size.

    Args:
        module: maps inputs to probabilities, (batch, classes).
        example: inputs, at least two.
        file: the ONNX file.
    """
    whole = Float32Output(module).eval()
    size = sum(value.numel() * value.element_size() for value in whole.state_dict().values())
    program = torch.onnx.export(
        whole,
        (example,),
        dynamo=True,
        verbose=False,
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes=({0: torch.export.Dim(BATCH)},),
        opset_version=OPSET,
    )
    if program is None:
        raise TypeError("torch.onnx.export returned no program, although dynamo=True asks for one")
    program.save(file, external_data=size > LARGEST_FILE_BYTES)


def _compare_formats(network: TransferNetwork, crops: Pixels, expected: NDArray[Any]) -> dict[str, Any]:
    """Return the number formats of the logged and the exported model, and how far their probabilities differ."""
    logged = network.backbone.number_format
    if logged == EXACT:
        return {"logged": logged, "exported": EXACT}
    # Compiling takes half a minute, and hardly changes the rounding.
    computed = network.backbone.in_format(logged.replace("-compiled", "-folded"))
    difference = np.abs(network.head.predict_proba(computed.embed_crops(crops)) - expected).max()
    return {"logged": logged, "exported": EXACT, "logged_differs_from_exported_by": float(difference)}


def draw_noise(shape: tuple[int, int, int]) -> Pixels:
    """Return random images, (n, height, width, channels) uint8, the same in every call."""
    return np.random.default_rng(NOISE_SEED).integers(0, 256, size=(NOISE_IMAGES, *shape), dtype=np.uint8)
