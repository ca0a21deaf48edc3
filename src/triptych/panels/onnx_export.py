"""Export a trained panel to ONNX, and verify with ONNX Runtime that the export reproduces its probabilities.

`onnx.json`, written beside `model.onnx`, describes the input, the output and the verification. Panels on pixels take
raw images. A pretrained network takes images that are already resized, cropped and normalised: no ONNX operator
reproduces Pillow's resizing exactly, so that step is not part of the model.
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
# Supported by the ONNX runtimes of the last years.
OPSET = 18
PACKAGES = ("onnx", "onnxruntime", "onnxscript")
# Largest difference between two probabilities that counts as rounding.
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Export:
    """The expected results of an ONNX model that has been written.

    Attributes:
        inputs: (n, ...), random inputs of the model's dtype.
        expected: (n, classes), the panel's own probabilities for them.
        fields: the entries of `onnx.json` that depend on the kind of panel.
    """

    inputs: NDArray[Any]
    expected: NDArray[Any]
    fields: dict[str, Any]


def check_packages() -> None:
    """Check that the packages for the export are installed.

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
    """Export a panel to ONNX, verify the export, and return the section on it for the model card, as Markdown.

    Args:
        source: the folder of the model, written by `triptych.networks.saved`.
        folder: an existing folder, to which `model.onnx` and `onnx.json` are written.

    Raises:
        ConfigError: this kind of panel cannot be exported.
        ExportError: the export does not reproduce the panel's probabilities.
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
    """Return the largest difference between a probability of the panel and of its export.

    The inputs are run as one batch and one at a time, which reveals a batch axis of fixed length.

    Raises:
        ExportError: the difference is more than rounding.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    batches = [export.inputs, *(export.inputs[row : row + 1] for row in range(len(export.inputs)))]
    together, *alone = [session.run([OUTPUT], {INPUT: batch})[0] for batch in batches]
    difference = max(float(np.abs(found - export.expected).max()) for found in (together, np.concatenate(alone)))
    if not difference <= TOLERANCE:
        raise ExportError(
            f"a probability of the ONNX model differs from the panel's by {difference:.3g}: at most {TOLERANCE:g} is "
            "rounding; fetch the panel with --format mlflow"
        )
    return difference


def _describe(contract: dict[str, Any]) -> str:
    taken, formats, checked = contract["input"], contract["number_format"], contract["checked"]
    shape, exported = ", ".join(map(str, taken["shape"])), formats["exported"]
    verified = f"no probability under {checked['runtime']} differs from the panel's in {exported}"
    lines = [
        f"`{MODEL_FILE}` takes `{taken['name']}`, ({shape}) {taken['dtype']}: {taken['description']}",
        f"`{CONTRACT_FILE}` lists the classes, in the order of the probabilities, and the preprocessing",
        f"for {checked['images_of_noise']} random images, {verified} by more than {checked['largest_difference']:.2g}",
    ]
    if formats["logged"] != exported:
        lines.append(
            f"the results above are those of the logged model, which computes in {formats['logged']}: on the same "
            f"images its probabilities differ by up to {formats['logged_differs_from_exported_by']:.2g}"
        )
    return "\n".join(["## ONNX", "", *(f"- {line}" for line in lines), ""])
