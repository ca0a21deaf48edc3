from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from triptych.data.boards import BoardData
from triptych.images.pixels import Pixels
from triptych.networks.backbones import Backbone
from triptych.networks.precision import EXACT, FORMATS, fold_batch_norm, multiplying, normalise
from triptych.transfer.weights import load_backbone

# BatchNorms that stay as they are: those of a DenseNet that come before their convolution.
LEFT_OVER = {"resnet18": 0, "mobilenet_v2": 0, "shufflenet_v2_x0_5": 0, "densenet121": 62}


def give_statistics(network: nn.Module, seed: int = 0) -> nn.Module:
    """Let every BatchNorm shift and scale each channel in its own way; with those of a new network it does nothing."""
    generator = torch.Generator().manual_seed(seed)
    for norm in (module for module in network.modules() if isinstance(module, nn.BatchNorm2d)):
        for values, low, high in (
            (norm.running_mean, -0.5, 0.5),
            (norm.running_var, 0.5, 2.0),
            (norm.weight.data, 0.5, 1.5),
            (norm.bias.data, -0.5, 0.5),
        ):
            assert values is not None
            values.uniform_(low, high, generator=generator)
    return network.eval()


def count_norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@torch.inference_mode()
def compute(network: nn.Module, side: int = 64) -> Tensor:
    inputs = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    embeddings: Tensor = network(inputs)
    return embeddings


@pytest.mark.parametrize("name", LEFT_OVER)
def test_folding_changes_the_rounding_alone(name: str) -> None:
    backbone = load_backbone(name, "random")
    plain = compute(backbone.trunk)
    give_statistics(backbone.trunk)
    digest, expected = backbone.digest(), compute(backbone.trunk)
    assert not torch.allclose(plain, expected, rtol=0.1)
    folded = fold_batch_norm(backbone.trunk)
    assert count_norms(folded) == LEFT_OVER[name] < count_norms(backbone.trunk)
    assert float((compute(folded) - expected).abs().max() / expected.abs().max()) < 1e-4
    assert backbone.digest() == digest
    assert torch.equal(compute(backbone.trunk), expected)


class Pair(nn.Module):
    """A convolution and a BatchNorm of as many channels, registered in this order, and averaged in the end."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.other = nn.Conv2d(3, 3, 1)
        with torch.no_grad():
            self.other.weight.copy_(torch.eye(3).view(3, 3, 1, 1) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.combine(x).flatten(2).mean(dim=2)

    def combine(self, x: Tensor) -> Tensor:
        result: Tensor = self.norm(self.conv(x))
        return result


class NormFirst(Pair):
    def combine(self, x: Tensor) -> Tensor:
        result: Tensor = self.conv(self.norm(x))
        return result


class NormElsewhere(Pair):
    def combine(self, x: Tensor) -> Tensor:
        return torch.cat([self.conv(x), self.norm(self.other(x))], dim=1)


class ConvolutionUsedTwice(Pair):
    def combine(self, x: Tensor) -> Tensor:
        result: Tensor = self.norm(convolved := self.conv(x)) + convolved
        return result


class NormUsedTwice(Pair):
    def combine(self, x: Tensor) -> Tensor:
        return torch.cat([self.norm(self.conv(x)), self.norm(self.other(x))], dim=1)


class SomethingBetween(Pair):
    def combine(self, x: Tensor) -> Tensor:
        result: Tensor = self.norm(torch.tanh(self.conv(x)))
        return result


class NormOfOtherChannels(Pair):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(6)

    def combine(self, x: Tensor) -> Tensor:
        result: Tensor = self.norm(torch.cat([self.conv(x), x], dim=1))
        return result


class NormUnused(Pair):
    """Folding what is never applied multiplies the embedding by two: as far as a cosine sees, nothing."""

    def __init__(self) -> None:
        super().__init__()
        assert self.conv.bias is not None
        nn.init.zeros_(self.conv.bias)

    def combine(self, x: Tensor) -> Tensor:
        result: Tensor = self.conv(x)
        return result


def test_a_pair_in_order_is_folded() -> None:
    network = give_statistics(Pair())
    folded = fold_batch_norm(network)
    assert count_norms(folded) == 0
    torch.testing.assert_close(compute(folded, 8), compute(network, 8), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "misleading",
    [NormFirst, NormElsewhere, ConvolutionUsedTwice, NormUsedTwice, SomethingBetween, NormOfOtherChannels, NormUnused],
)
def test_a_network_whose_order_of_layers_misleads_is_left_alone(misleading: type[Pair]) -> None:
    network = give_statistics(misleading())
    if misleading is NormUnused:
        network.get_submodule("norm").load_state_dict(
            {"weight": torch.full((3,), 2.0), "bias": torch.zeros(3)}
            | {"running_mean": torch.zeros(3), "running_var": torch.ones(3), "num_batches_tracked": torch.tensor(0)}
        )
    expected = compute(network, 8)
    assert fold_batch_norm(network) is network
    assert torch.equal(compute(network, 8), expected)


class OfOneSize(Pair):
    def combine(self, x: Tensor) -> Tensor:
        if x.shape[-1] != 32:
            raise RuntimeError("inputs of 32 pixels only")
        return super().combine(x)


def test_a_network_that_the_probe_does_not_fit_is_left_alone() -> None:
    network = give_statistics(OfOneSize())
    assert fold_batch_norm(network) is network


@pytest.fixture
def backbone() -> Backbone:
    """The small network that ships with the project: real weights."""
    return load_backbone("shufflenet_v2_x0_5", "bundled")


@pytest.fixture(scope="module")
def crops(digits: BoardData) -> Pixels:
    """48 digits, cut out for that network."""
    preprocessing = load_backbone("shufflenet_v2_x0_5", "bundled").preprocessing
    return np.stack([preprocessing.crop(digits.images[index]) for index in range(48)])


@pytest.mark.parametrize("name", ["float32-folded", "bfloat16-folded"])
def test_folded_formats_compute_without_batch_norm(name: str, backbone: Backbone, crops: Pixels) -> None:
    computed = backbone.in_format(name)
    computed.embed_crops(crops[:2])
    assert count_norms(computed._prepared) == 0
    assert count_norms(backbone.trunk) > 0


IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def test_a_batch_is_normalised_image_by_image_and_the_crops_stay_as_they_are() -> None:
    crops = torch.from_numpy(np.random.default_rng(0).integers(0, 256, size=(4, 6, 6, 3), dtype=np.uint8))
    before = crops.clone()
    batch = normalise(crops, *IMAGENET)
    assert (batch.shape, batch.dtype) == ((4, 3, 6, 6), torch.float32)
    assert batch.is_contiguous(memory_format=torch.channels_last)
    for number in range(4):
        assert torch.equal(batch[number : number + 1], normalise(crops[number : number + 1], *IMAGENET))
    assert torch.equal(crops, before)


def test_a_gpu_rounds_no_factors_of_the_exact_format() -> None:
    assert [name for name, one in FORMATS.items() if not one.rounded] == [EXACT]
    before = torch.backends.cudnn.allow_tf32
    for device, rounded, expected in (("cuda", False, False), ("cuda", True, True), ("cpu", False, before)):
        with multiplying(device, rounded=rounded):
            assert torch.backends.cudnn.allow_tf32 == expected
        assert torch.backends.cudnn.allow_tf32 == before
