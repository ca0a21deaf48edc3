from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain, repeat
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from triptych.config.resolve import resolve_config
from triptych.data.boards import BoardData, load_board, prepare_board
from triptych.images.pixels import Pixels
from triptych.images.sources import ArrayImages
from triptych.networks import precision as number_formats
from triptych.networks.backbones import Backbone, Embeddings
from triptych.networks.precision import EXACT, FORMATS, PRECISIONS, NumberFormat, fold_batch_norm
from triptych.transfer import plan as embedding_plan
from triptych.transfer.choose_precision import (
    LEAST_COSINE,
    LEAST_GAIN,
    OPERATIONS_WORTH_MEASURING,
    TIMED_PASSES,
    MeasuredFormat,
    choose_format,
    choose_format_for,
    count_operations,
    is_worth_measuring,
    measure_formats,
    worst_cosine,
)
from triptych.transfer.embed import store_embeddings
from triptych.transfer.plan import plan_board
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


def measure_as_if(monkeypatch: pytest.MonkeyPatch, exact_seconds: float) -> None:
    """Let a pass of the exact format take some seconds, and one of any other format a second."""
    seconds = chain(repeat(exact_seconds, TIMED_PASSES), repeat(1.0))

    def measure(job: Callable[[], object]) -> float:
        job()
        return next(seconds)

    monkeypatch.setattr(number_formats, "_time", measure)


def find_worst(some: Embeddings, others: Embeddings) -> float:
    """The cosine similarity by its definition."""
    a, b = some.astype(np.float64), others.astype(np.float64)
    return float(np.min((a * b).sum(axis=1) / np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))))


def test_what_is_chosen_is_near_the_exact_one_on_other_images_too(
    backbone: Backbone, crops: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure_as_if(monkeypatch, exact_seconds=2.0)
    chosen, measured = measure_formats(backbone, crops[:16], 1000, PRECISIONS["auto"])
    assert [one.name for one in measured] == [name for name in FORMATS if not is_left_out(name)]
    assert chosen == measured[1].name == "float32-folded"
    exact = backbone.embed_crops(crops)
    for one in measured:
        embeddings = backbone.in_format(one.name).embed_crops(crops)
        assert embeddings.dtype == np.float32
        assert one.cosine == pytest.approx(find_worst(embeddings[:16], exact[:16]), abs=1e-6)
        assert one.cosine < LEAST_COSINE or find_worst(embeddings, exact) >= LEAST_COSINE
        assert worst_cosine(embeddings, exact) == pytest.approx(find_worst(embeddings, exact), abs=1e-9)


def is_left_out(name: str) -> bool:
    """Whether a format needs a GPU or a compiler."""
    return FORMATS[name].compiled or "cpu" not in FORMATS[name].devices


def test_operations_are_those_of_a_count_by_hand(cache: Path) -> None:
    del cache
    trunk = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    side = 32
    small = replace(load_backbone("squeezenet1_1", "random"), trunk=trunk)
    small = replace(small, preprocessing=replace(small.preprocessing, crop_size=side))
    # One multiplication and one addition for each weight of the convolution at each place.
    operations = 2 * (3 * 3 * 3 * 8) * side**2
    assert count_operations(small) == operations
    enough = math.ceil(OPERATIONS_WORTH_MEASURING["cpu"] / operations)
    assert is_worth_measuring(small, enough)
    assert not is_worth_measuring(small, enough - 1)


@pytest.mark.parametrize(("precision", "first"), [("auto", EXACT), ("bfloat16", "bfloat16")])
def test_nothing_is_tried_where_there_is_little_to_do(
    precision: str, first: str, cache: Path, backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding_plan, "measure_formats", None)
    chosen = choose_format_for(backbone, make_images(0), PRECISIONS[precision])
    assert chosen == (first, "too few images to look for a faster one")
    assert not (cache / "number-formats").exists()


@dataclass(frozen=True)
class Broken(NumberFormat):
    def prepare(self, trunk: nn.Module) -> nn.Module:
        del trunk
        raise RuntimeError("no compiler")


@dataclass(frozen=True)
class Inexact(NumberFormat):
    def prepare(self, trunk: nn.Module) -> nn.Module:
        return nn.Sequential(trunk, nn.Dropout(0.5).train())


def test_a_format_that_fails_and_one_that_is_not_near_are_not_chosen(
    backbone: Backbone, crops: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    formats = {EXACT: FORMATS[EXACT], "broken": Broken(compiled=True), "inexact": Inexact(), "folded": NumberFormat()}
    formats["elsewhere"] = NumberFormat(devices=("cuda",))
    monkeypatch.setattr(number_formats, "FORMATS", formats)
    monkeypatch.setattr("triptych.networks.backbones.FORMATS", formats)
    monkeypatch.setattr(number_formats, "SECONDS_WORTH_COMPILING", 0.0)
    measure_as_if(monkeypatch, exact_seconds=2.0)
    chosen, measured = measure_formats(backbone, crops[:4], 100, tuple(formats))
    assert [one.name for one in measured] == [EXACT, "inexact", "folded"]
    assert measured[1].cosine < LEAST_COSINE
    assert chosen == "folded"
    assert measure_formats(backbone, crops[:4], 10**6, (EXACT, "broken", "inexact"))[0] == EXACT


@pytest.mark.parametrize(
    ("faster", "gain", "cosine", "chosen"),
    [
        ("bfloat16-folded", LEAST_GAIN, LEAST_COSINE, "bfloat16-folded"),
        ("bfloat16-folded", LEAST_GAIN - 0.01, 1.0, EXACT),
        ("bfloat16-folded", 50.0, LEAST_COSINE - 1e-6, EXACT),
        ("bfloat16-folded", 50.0, float("nan"), EXACT),
        ("float32-folded", 1.5, 0.9999, "float32-folded"),
        ("float32-folded", 0.5, 1.0, EXACT),
    ],
)
def test_a_format_must_be_near_and_worth_it(faster: str, gain: float, cosine: float, chosen: str) -> None:
    measured = [MeasuredFormat(EXACT, 100.0, 1.0), MeasuredFormat(faster, 100.0 * gain, cosine)]
    for order in (measured, measured[::-1]):
        assert choose_format(order, PRECISIONS["auto"]) == chosen
        assert choose_format(order, PRECISIONS["float32"]) == EXACT


def test_the_fastest_of_those_that_are_near_is_chosen() -> None:
    measured = [
        MeasuredFormat(EXACT, 100.0, 1.0),
        MeasuredFormat("float32-folded", 140.0, 1.0),
        MeasuredFormat("bfloat16", 90.0, 0.9995),
        MeasuredFormat("bfloat16-folded", 300.0, 0.998),
    ]
    assert choose_format(measured, PRECISIONS["auto"]) == "float32-folded"
    # Where bfloat16 is what was asked for, the exact format is none to fall back to.
    assert choose_format(measured, PRECISIONS["bfloat16"]) == "bfloat16"
    assert choose_format(measured[3:], PRECISIONS["bfloat16"]) == "bfloat16"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def measurements(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of images that formats were measured for; folding always comes out as the fastest."""
    seen: list[int] = []

    def measure(
        backbone: Backbone, sample: Pixels, images: int, allowed: tuple[str, ...]
    ) -> tuple[str, list[MeasuredFormat]]:
        side = backbone.preprocessing.crop_size
        assert sample.shape == (min(16, images), side, side, 3)
        assert allowed[0] == EXACT
        seen.append(images)
        return "float32-folded", [MeasuredFormat(EXACT, 10.0, 1.0), MeasuredFormat("float32-folded", 50.0, 0.99999)]

    monkeypatch.setattr(embedding_plan, "measure_formats", measure)
    monkeypatch.setitem(OPERATIONS_WORTH_MEASURING, "cpu", 0.0)
    return seen


def make_images(seed: int, count: int = 20) -> ArrayImages:
    return ArrayImages(np.random.default_rng(seed).integers(0, 256, size=(count, 9, 8, 1), dtype=np.uint8))


def test_what_is_configured_is_not_measured(cache: Path, measurements: list[int]) -> None:
    settings = ["transfer.weights=bundled", "transfer.precision=float32"]
    config = resolve_config("digits", panels=["shufflenet_v2_x0_5"], settings=settings)
    plan = plan_board(load_board(prepare_board(config.boards[0])), config.boards[0].backbone_panels)
    [planned] = plan.networks.values()
    assert list(plan.networks) == ["shufflenet_v2_x0_5"]
    assert (planned.number_format, planned.reason, measurements) == ("float32", "as configured", [])
    assert not (cache / "number-formats").exists()


def test_what_was_measured_is_remembered_for_this_network_alone(
    cache: Path, backbone: Backbone, measurements: list[int]
) -> None:
    chosen, reason = choose_format_for(backbone, make_images(0), PRECISIONS["auto"])
    assert chosen == "float32-folded"
    assert reason == "measured: float32 10 images/s (cosine 1.00000), float32-folded 50 images/s (cosine 0.99999)"
    [place] = (cache / "number-formats").iterdir()
    assert json.loads(place.read_text())["chosen"] == "float32-folded"
    again = choose_format_for(backbone, make_images(1, 30), PRECISIONS["auto"])
    assert again == ("float32-folded", "the fastest here, as measured before")
    assert measurements == [20]
    other = load_backbone("squeezenet1_1", "random")
    assert choose_format_for(other, make_images(0), PRECISIONS["auto"])[1].startswith("measured")
    assert measurements == [20, 20]


def test_what_is_stored_already_is_used(cache: Path, backbone: Backbone, measurements: list[int]) -> None:
    images = make_images(0)
    place = cache / "number-formats"
    store_embeddings([backbone], images, batch_size=10, threads=1)
    assert choose_format_for(backbone, images, PRECISIONS["auto"]) == ("float32", "stored already")
    assert (measurements, place.exists()) == ([], False)
    others = make_images(1)
    assert choose_format_for(backbone, others, PRECISIONS["auto"])[0] == "float32-folded"
    store_embeddings([backbone.in_format("float32-folded")], others, batch_size=10, threads=1)
    assert choose_format_for(backbone, others, PRECISIONS["auto"]) == ("float32-folded", "stored already")
    assert choose_format_for(backbone, images, PRECISIONS["auto"]) == ("float32", "stored already")
    assert measurements == [20]
