"""Cut a network at nodes: keep what computes their outputs, and average maps.

Nodes have the names that `torchvision.models.feature_extraction` gives them. Unlike its `create_feature_extractor`,
only the modules around a cut are taken apart: all others keep their types. Other threads may compute meanwhile.
"""

from __future__ import annotations

import difflib
import math
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn

from triptych.errors import ConfigError
from triptych.networks.light_torchvision import feature_extraction, models, ops

PENULTIMATE, FEATURES = "penultimate", "features"
# The node of the last feature map in each family of networks. Vision transformers have none.
FEATURE_MAPS: dict[type[nn.Module], str] = {
    models.AlexNet: "features",
    models.ConvNeXt: "features",
    models.DenseNet: "relu",
    models.EfficientNet: "features",
    models.GoogLeNet: "inception5b",
    models.Inception3: "Mixed_7c",
    models.MaxVit: "blocks",
    models.MNASNet: "layers",
    models.MobileNetV2: "features",
    models.MobileNetV3: "features",
    models.RegNet: "trunk_output",
    models.ResNet: "layer4",
    models.ShuffleNetV2: "conv5",
    models.SqueezeNet: "features",
    models.SwinTransformer: "permute",
    models.VGG: "features",
}
# How a map, (n, channels, height, width), becomes an embedding, (n, dimension).
POOLINGS: dict[str, Callable[[Tensor, tuple[int, ...]], Tensor]] = {
    "average": lambda outputs, axes: outputs.mean(axes),
    "max": lambda outputs, axes: outputs.amax(axes),
    "flatten": lambda outputs, axes: outputs.flatten(1).clone(),
}
# Axes of a map, by the number of axes of the output: tokens of transformers, (n, tokens, channels), and images.
AXES = {3: (1,), 4: (2, 3)}
# Longer embeddings are refused: a file of 256 of them has 256 MiB.
MOST_NUMBERS = 2**18
NEAREST = 3
# Stands for what a network returns.
OUTPUT = "output"
# Tracing patches PyTorch's modules for a moment; one thread at a time may do so.
_tracing_lock = threading.Lock()


class Cut(NamedTuple):
    """Where a network is cut.

    Attributes:
        node: `penultimate`, the inputs of the last layer; `features`, the last feature map; or the name of a node.
        pooling: how a map becomes an embedding, a row of `POOLINGS`; other outputs are taken as they are.
    """

    node: str = PENULTIMATE
    pooling: str = "average"

    @property
    def is_penultimate(self) -> bool:
        """Whether only the last layer is cut off."""
        return self.node == PENULTIMATE


WITHOUT_LAST_LAYER = Cut()


class Tap(NamedTuple):
    """A node whose output is taken.

    Attributes:
        node: its name.
        pooling: how a map becomes an embedding, a row of `POOLINGS`.
        entering: take what enters the node instead of its output.
    """

    node: str
    pooling: str
    entering: bool = False


class _Tracer(feature_extraction.NodePathTracer):  # type: ignore[misc]  # torchvision has no types
    """Traces the modules that are opened; each of the others is one node. Other threads compute as usual."""

    def __init__(self, opened: Collection[str] | None) -> None:
        super().__init__(autowrap_modules=(math, ops))
        self._opened, self._thread = opened, threading.get_ident()

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        if self._opened is None:
            return bool(super().is_leaf_module(module, name))
        return name not in self._opened

    def create_args_for_root(
        self,
        root_fn: Callable[..., Any],
        is_module: bool,  # noqa: FBT001 - that of PyTorch
        concrete_args: Any = None,
    ) -> tuple[Any, list[Any]]:
        """Let a network take one argument, the images; others, such as masks, have their defaults."""

        def forward(network: nn.Module, x: Tensor) -> Any:
            return root_fn(network, x)

        taken: tuple[Any, list[Any]] = super().create_args_for_root(forward, is_module, concrete_args)
        return taken

    def call_module(self, module: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if threading.get_ident() != self._thread:
            return forward(*args, **kwargs)
        return super().call_module(module, forward, args, kwargs)


def find_feature_map(network: nn.Module, name: str) -> str:
    """Return the node of the last feature map of a network of torchvision.

    Args:
        network: the whole network.
        name: name of the network, for the error.

    Raises:
        ConfigError: the network has no feature map.
    """
    for family, node in FEATURE_MAPS.items():
        if isinstance(network, family):
            return node
    raise ConfigError(
        f"transfer.cut = {FEATURES!r}, but {name} has no feature map: name one of its nodes, such as encoder"
    )


def find_result(network: nn.Module, method: str) -> str:
    """Return the node of what a method of a network returns for images."""
    graph, named = _trace(network, (), method)
    [last] = graph.find_nodes(op="output")
    [name] = [name for name, node in named.items() if node is last.args[0]] or [OUTPUT]
    return name


def tap_output() -> Tap:
    """Return the tap of what a network returns, (n, dimension)."""
    return Tap(OUTPUT, "", entering=True)


def cut_network(network: nn.Module, taps: Sequence[Tap], name: str) -> fx.GraphModule:
    """Return the part of a network that computes some outputs; it returns a tuple if there are several.

    The layers are those of the network itself, not copies, and keep their names.

    Args:
        network: the whole network, in eval mode.
        taps: the outputs to take.
        name: name of the network, for the error.

    Raises:
        ConfigError: the network has no such node.
    """
    graph, named = _trace(network, {prefix for tap in taps for prefix in _list_prefixes(tap.node)})
    embeddings = []
    [last] = graph.find_nodes(op="output")
    for tap in taps:
        found = last if tap == tap_output() else _find_node(named, tap.node)
        if found is None:
            raise ConfigError(describe_unknown(network, tap.node, name))
        found = found.args[0] if tap.entering else found
        # Before any layer that follows changes it in place.
        with graph.inserting_after(found):
            embeddings.append(graph.call_function(embed_output, (found, tap.pooling)))
    graph.erase_node(last)
    graph.output(embeddings[0] if len(taps) == 1 else tuple(embeddings))
    graph.eliminate_dead_code(lambda node: node.op in {"placeholder", "output"})
    return fx.GraphModule(network, graph, type(network).__name__)


def embed_output(outputs: Tensor, pooling: str) -> Tensor:
    """Return the output of a node as embeddings, (n, dimension).

    Maps are (n, channels, height, width) or, in some transformers, (n, height, width, channels): their sides are equal.

    >>> embed_output(torch.ones(2, 5, 3, 3), "average").shape, embed_output(torch.ones(2, 3, 3, 5), "max").shape
    (torch.Size([2, 5]), torch.Size([2, 5]))
    """
    shape = outputs.shape
    if len(shape) not in AXES:
        return outputs.clone()
    axes = (1, 2) if len(shape) == 4 and shape[1] == shape[2] != shape[3] else AXES[len(shape)]
    return POOLINGS[pooling](outputs, axes)


@torch.inference_mode()
def measure_embedding(trunk: nn.Module, pixels: int, node: str) -> int:
    """Return the length of the embeddings of a network without values, on PyTorch's meta device.

    Args:
        trunk: the cut network.
        pixels: side of its input images.
        node: where it is cut, for the error.

    Raises:
        ConfigError: the node gives no embedding for each image, or a very long one, or nothing is left below it.
    """
    try:
        output = trunk(torch.zeros(2, 3, pixels, pixels, device="meta"))
    except (AttributeError, TypeError) as error:  # a size, or several outputs
        raise ConfigError(f"transfer.cut = {node!r} gives no numbers for each image: choose another node") from error
    if output.dim() != 2 or len(output) != 2 or not output.is_floating_point():
        raise ConfigError(f"transfer.cut = {node!r} gives no numbers for each image: choose another node")
    if next(trunk.parameters(), None) is None:
        raise ConfigError(f"transfer.cut = {node!r} leaves no layer with weights: choose a node behind the first one")
    dimension: int = output.shape[1]
    if dimension > MOST_NUMBERS:
        raise ConfigError(
            f"transfer.cut = {node!r} gives {dimension:,} numbers for each image, more than {MOST_NUMBERS:,}: "
            "set transfer.pooling=average, or cut later"
        )
    return dimension


def describe_unknown(network: nn.Module, node: str, name: str) -> str:
    """Return one line that says that a network has no such node, with the nearest names."""
    _, named = _trace(network, None)
    modules = {prefix for one in named for prefix in _list_prefixes(one)}
    known = sorted({PENULTIMATE, FEATURES} | named.keys() | modules)
    close = difflib.get_close_matches(node, known, n=NEAREST)
    nearest = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
    return (
        f"unknown transfer.cut {node!r} for {name}: use {PENULTIMATE}, {FEATURES} or one of its nodes, such as "
        f"{_find_example(list(named))}{nearest}"
    )


def _find_example(names: list[str]) -> str:
    return names[len(names) // 2]


def _list_prefixes(node: str) -> Iterator[str]:
    """Yield the names of the modules that a node lies in.

    >>> list(_list_prefixes("layer1.0.relu"))
    ['layer1', 'layer1.0']
    """
    parts = node.split(".")
    yield from (".".join(parts[:length]) for length in range(1, len(parts)))


def _find_node(named: dict[str, fx.Node], wanted: str) -> fx.Node | None:
    """Return the node of a name, or the last one in the module of this name."""
    inside = [node for name, node in named.items() if name.startswith(f"{wanted}.")]
    return named.get(wanted, inside[-1] if inside else None)


def _trace(
    network: nn.Module, opened: Collection[str] | None, method: str = "forward"
) -> tuple[fx.Graph, dict[str, fx.Node]]:
    """Return the graph of a network, and its nodes by name; None opens all modules but PyTorch's own."""
    with _tracing_lock:
        tracer = _Tracer(opened)
        tracer.traced_func_name = method
        graph = tracer.trace(network)
    return graph, {name: node for node, name in tracer.node_to_qualname.items()}
