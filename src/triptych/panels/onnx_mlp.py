"""A multilayer perceptron as an ONNX graph, from raw pixels to probabilities; PyTorch has no part in it.

The nodes follow `triptych.networks.numpy_mlp`: pixels are scaled, then z = a W^T + b and a = activation(z) for each
layer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from triptych.images.pixels import INPUT_RANGES
from triptych.networks.saved import PixelNetwork
from triptych.panels.onnx_contract import BATCH, INPUT, OPSET, OUTPUT

# The one that PyTorch's exporter writes with this opset.
IR_VERSION = 10
ACTIVATIONS = {"sigmoid": "Sigmoid", "tanh": "Tanh", "relu": "Relu"}
# PyTorch's `normalize` divides by no less than this; the network by hand divides by the sum itself.
LEAST_SUMS = {"numpy_mlp": 0.0, "torch_mlp": 1e-12}


@dataclass
class _Graph:
    """Nodes and constants in order, all floats of one number format."""

    dtype: np.dtype[Any]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def add(self, operator: str, *inputs: str | Any, **attributes: Any) -> str:
        """Add a node; inputs that are no names become constants. Return the name of its output."""
        output = f"{operator.lower()}_{len(self.nodes)}"
        names = [given if isinstance(given, str) else self._keep(given) for given in inputs]
        self.nodes.append(helper.make_node(operator, names, [output], name=output, **attributes))
        return output

    def _keep(self, value: Any) -> str:
        name = f"constant_{len(self.constants)}"
        array = np.asarray(value)
        if array.dtype.kind == "f":
            array = array.astype(self.dtype)
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name


def build_mlp_graph(kind: str, network: PixelNetwork) -> onnx.ModelProto:
    """Return one of the two multilayer perceptrons as an ONNX model.

    It computes in the number format of the weights. Its input is (batch, height, width, channels) uint8 of the
    shape that the network was trained on, its output (batch, classes) float32.

    Args:
        kind: "numpy_mlp" or "torch_mlp".
        network: the trained network.
    """
    layers, names = network.network.layers, network.network.names
    graph = _Graph(layers[0][0].dtype)
    a = _add_scaling(graph, network.input_range)
    for weight, bias in layers[:-1]:
        a = graph.add(ACTIVATIONS[names["activation"]], graph.add("Gemm", a, weight, bias, transB=1))
    weight, bias = layers[-1]
    z = graph.add("Gemm", a, weight, bias, transB=1)
    probabilities = OUTPUTS[names["loss"]](graph, z, LEAST_SUMS[kind])
    graph.nodes.append(helper.make_node("Cast", [probabilities], [OUTPUT], to=TensorProto.FLOAT))
    return _assemble(graph, kind, network.image_shape, len(bias))


def _add_scaling(graph: _Graph, input_range: str) -> str:
    """Add what `triptych.images.pixels.scale_pixels` does; return the rows, (batch, height * width * channels)."""
    low, high = INPUT_RANGES[input_range]
    pixels = graph.add("Cast", INPUT, to=helper.np_dtype_to_tensor_dtype(graph.dtype))
    scaled = graph.add("Mul", graph.add("Flatten", pixels, axis=1), (high - low) / 255.0)
    return graph.add("Add", scaled, low)


def _add_normalised_sigmoids(graph: _Graph, z: str, least_sum: float) -> str:
    a = graph.add("Max", graph.add("Sigmoid", z), float(np.finfo(graph.dtype).tiny))
    total = graph.add("ReduceSum", a, np.array([1], dtype=np.int64), keepdims=1)
    return graph.add("Div", a, graph.add("Max", total, least_sum))


def _add_softmax(graph: _Graph, z: str, least_sum: float) -> str:
    del least_sum  # its rows sum to one
    return graph.add("Softmax", z, axis=1)


OUTPUTS = {"squared_error": _add_normalised_sigmoids, "cross_entropy": _add_softmax}


def _assemble(graph: _Graph, kind: str, image_shape: tuple[int, int, int], classes: int) -> onnx.ModelProto:
    images = helper.make_tensor_value_info(INPUT, TensorProto.UINT8, [BATCH, *image_shape])
    probabilities = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [BATCH, classes])
    built = helper.make_graph(graph.nodes, kind, [images], [probabilities], graph.constants)
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(built, opset_imports=[opset], ir_version=IR_VERSION, producer_name="triptych")
    onnx.checker.check_model(model, full_check=True)
    return model
