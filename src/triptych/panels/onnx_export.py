"""A trained panel as an ONNX model that repeats its probabilities, proved by ONNX Runtime before it is handed out.

Beside `model.onnx` lies `onnx.json`, which says what goes in, what comes out and how the two were compared. The
multilayer perceptrons take raw images. A pretrained network takes images that are resized, cut out and normalised:
no operator of ONNX repeats Pillow's resizing to the last digit, so it stays outside.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.errors import ConfigError, ExportError
from triptych.networks.saved import load_model, read_description
from triptych.panels.kinds import KINDS

MODEL_FILE, CONTRACT_FILE = "model.onnx", "onnx.json"
INPUT, OUTPUT, BATCH = "images", "probabilities", "batch"
# Old enough for the runtimes of the last years.
OPSET = 18
PACKAGES = ("onnx", "onnxruntime", "onnxscript")
# Largest difference of a probability that is rounding, and no more.
TOLERANCE = 1e-5


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
        ConfigError: there is no exporter for this kind of panel.
        ExportError: the export does not repeat the panel's probabilities.
    """
    served = load_model(source)
    kind = read_description(source)["kind"]
    export: Export = KINDS[kind].find_exporter()(served.network, folder / MODEL_FILE)
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
