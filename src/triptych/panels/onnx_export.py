"""A trained panel as an ONNX model that repeats its probabilities, proved by ONNX Runtime before it is handed out.

Beside `model.onnx` lies `onnx.json`, which says what goes in, what comes out and how the two were compared. The
multilayer perceptrons take raw images. A pretrained network takes images that are resized, cut out and normalised:
no operator of ONNX repeats Pillow's resizing to the last digit, so it stays outside.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from triptych.errors import ConfigError, ExportError
from triptych.images.pixels import INPUT_RANGES, Pixels
from triptych.networks.saved import DESCRIPTION, PixelNetwork, load_model
from triptych.panels.onnx_contract import BATCH, INPUT, OPSET, OUTPUT

if TYPE_CHECKING:
    from triptych.networks.head import TransferNetwork

MODEL_FILE, CONTRACT_FILE = "model.onnx", "onnx.json"
PACKAGES = ("onnx", "onnxruntime", "onnxscript")
# Largest difference of a probability that is rounding, and no more.
TOLERANCE = 1e-5
# Compared at once and one by one, so that a batch axis of fixed length is noticed.
PROBE_IMAGES, PROBE_SEED = 6, 0
# A file in protobuf's format ends at 2 GiB; larger weights go into a file of their own.
LARGEST_FILE_BYTES = 2**31 - 2**24


@dataclass(frozen=True)
class Export:
    """An ONNX model that was written, and what it must be compared with.

    Attributes:
        inputs: (n, ...) of the dtype that the model takes, made of noise.
        expected: (n, classes), what the panel itself makes of the same images.
        fields: what `onnx.json` says of this kind of panel.
    """

    inputs: NDArray[Any]
    expected: NDArray[Any]
    fields: dict[str, Any]


def check_packages() -> None:
    """Check that what the export needs is installed.

    Raises:
        ConfigError: a package is missing.
    """
    for package in PACKAGES:
        try:
            import_module(package)
        except ImportError as error:
            raise ConfigError(
                f"--format onnx needs {package}: install it with `pip install 'triptych[onnx]'`"
            ) from error


def export_model(source: Path, folder: Path) -> str:
    """Write a panel as ONNX, prove it, and return what its model card should say of it, as Markdown.

    Args:
        source: what `triptych.networks.saved` wrote.
        folder: gets `model.onnx` and `onnx.json`; exists.

    Raises:
        ExportError: the export does not repeat the panel's probabilities.
    """
    served = load_model(source)
    kind = json.loads((source / DESCRIPTION).read_text(encoding="utf-8"))["kind"]
    export = EXPORTERS[kind](kind, served.network, folder / MODEL_FILE)
    difference = _compare(folder / MODEL_FILE, export)
    checked = {
        "runtime": "onnxruntime",
        "images_of_noise": len(export.inputs),
        "largest_difference": difference,
        "tolerance": TOLERANCE,
    }
    output = {"name": OUTPUT, "dtype": "float32", "shape": [BATCH, len(served.classes)]}
    contract = {"kind": kind, "classes": list(served.classes), **export.fields, "output": output, "checked": checked}
    (folder / CONTRACT_FILE).write_text(json.dumps(contract, indent=2) + "\n", encoding="utf-8")
    return _describe(contract)


def _compare(file: Path, export: Export) -> float:
    """Return the largest difference of a probability between the panel and its export."""
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    batches = [export.inputs, *(export.inputs[row : row + 1] for row in range(len(export.inputs)))]
    together, *alone = [session.run([OUTPUT], {INPUT: batch})[0] for batch in batches]
    difference = max(float(np.abs(found - export.expected).max()) for found in (together, np.concatenate(alone)))
    if not difference <= TOLERANCE:
        raise ExportError(
            f"the ONNX model differs from the panel by {difference:.3g} in a probability: at most {TOLERANCE:g} is "
            "rounding; fetch it with --format mlflow"
        )
    return difference


def _export_mlp(kind: str, network: PixelNetwork, file: Path) -> Export:
    import onnx

    from triptych.panels.onnx_mlp import build_mlp_graph

    onnx.save(build_mlp_graph(kind, network), file)
    images = _draw_noise(network.image_shape)
    shape = [BATCH, *network.image_shape]
    number_format = str(network.network.layers[0][0].dtype)
    fields = {
        "input": {
            "name": INPUT,
            "dtype": "uint8",
            "shape": shape,
            "description": "raw images (batch, height, width, channels), 0..255, of the size that the network was "
            "trained on; the scaling is inside",
        },
        "preprocessing": {"inside": True, "scaled_to": INPUT_RANGES[network.input_range]},
        "number_format": {"logged": number_format, "exported": number_format},
    }
    return Export(images, network.predict_images(images), fields)


def _export_transfer(kind: str, network: TransferNetwork, file: Path) -> Export:
    del kind
    import torch

    from triptych.networks.precision import EXACT, normalise

    preprocessing = network.backbone.preprocessing
    _write_transfer(network, file)
    crops = _draw_noise((preprocessing.crop_size, preprocessing.crop_size, 3))
    exact = network.backbone.on_device("cpu").in_format(EXACT)
    expected = network.head.predict_proba(exact.embed_crops(crops))
    inputs = normalise(torch.from_numpy(crops), preprocessing.mean, preprocessing.std).contiguous().numpy()
    fields = {
        "input": {
            "name": INPUT,
            "dtype": "float32",
            "shape": [BATCH, *inputs.shape[1:]],
            "description": "images (batch, channels, height, width) in RGB that went through the preprocessing, "
            "step by step: the shorter side resized to resize_size by Pillow, the middle crop_size x crop_size cut "
            "out, divided by 255, minus mean, divided by std; gray images are repeated three times",
        },
        "preprocessing": {"inside": False, **preprocessing.as_json()},
        "number_format": _compare_formats(network, crops, expected),
    }
    return Export(inputs, expected, fields)


def _write_transfer(network: TransferNetwork, file: Path) -> None:
    """Write the trunk, the head and its softmax as one ONNX model in float32."""
    import torch
    from torch import nn

    side = network.backbone.preprocessing.crop_size
    whole = nn.Sequential(network.backbone.trunk, network.head.linear, nn.Softmax(dim=1)).eval()
    size = sum(value.numel() * value.element_size() for value in whole.state_dict().values())
    program = torch.onnx.export(
        whole,
        (torch.zeros(2, 3, side, side),),
        dynamo=True,
        verbose=False,
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes=({0: torch.export.Dim(BATCH)},),
        opset_version=OPSET,
    )
    assert program is not None, "with dynamo=True there is a program"  # noqa: S101
    program.save(file, external_data=size > LARGEST_FILE_BYTES)


def _compare_formats(network: TransferNetwork, crops: Pixels, expected: NDArray[Any]) -> dict[str, Any]:
    """Return the number formats of the logged and of the exported model, and how far apart the two are."""
    from triptych.networks.precision import EXACT

    logged = network.backbone.number_format
    if logged == EXACT:
        return {"logged": logged, "exported": EXACT}
    # A compiler would take half a minute, and rounds like the layers that it compiles.
    computed = network.backbone.in_format(logged.replace("-compiled", "-folded"))
    difference = np.abs(network.head.predict_proba(computed.embed_crops(crops)) - expected).max()
    return {"logged": logged, "exported": EXACT, "logged_differs_from_exported_by": float(difference)}


def _draw_noise(shape: tuple[int, int, int]) -> Pixels:
    """Return images of noise, (n, height, width, channels) uint8, always the same."""
    return np.random.default_rng(PROBE_SEED).integers(0, 256, size=(PROBE_IMAGES, *shape), dtype=np.uint8)


def _describe(contract: dict[str, Any]) -> str:
    given, formats, checked = contract["input"], contract["number_format"], contract["checked"]
    shape, exported = ", ".join(map(str, given["shape"])), formats["exported"]
    proof = f"{checked['images_of_noise']} images of noise no probability differs from the panel's in {exported}"
    lines = [
        f"`{MODEL_FILE}` takes `{given['name']}`, ({shape}) {given['dtype']}: {given['description']}",
        f"`{CONTRACT_FILE}` has the classes, in order of the probabilities, and the preprocessing in figures",
        f"under {checked['runtime']}, for {proof} by more than {checked['largest_difference']:.2g}",
    ]
    if formats["logged"] != exported:
        apart = f"{formats['logged_differs_from_exported_by']:.2g}"
        lines.append(
            f"the logged model, whose results stand above, computes in {formats['logged']}: on the same images it "
            f"differs from this one by up to {apart}"
        )
    return "\n".join(["## As ONNX", "", *(f"- {line}" for line in lines), ""])


EXPORTERS: dict[str, Callable[[str, Any, Path], Export]] = {
    "numpy_mlp": _export_mlp,
    "torch_mlp": _export_mlp,
    "transfer": _export_transfer,
}
