"""The names and the version that every exported ONNX model agrees on."""

from __future__ import annotations

INPUT, OUTPUT, BATCH = "images", "probabilities", "batch"
# Old enough for the runtimes of the last years.
OPSET = 18
