"""A number format is chosen only if it is fast and accurate, and the choice is remembered."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain, repeat
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from triptych.data.boards import BoardData
from triptych.images.pixels import Pixels
from triptych.images.sources import ArrayImages
from triptych.networks.backbones import Backbone, Embeddings, join
from triptych.networks.cuts.nodes import Cut
from triptych.networks.precision import EXACT, FORMATS, PRECISIONS, NumberFormat
from triptych.transfer import choose_precision
from triptych.transfer.choose_precision import (
    MIN_COSINE,
    MIN_SPEEDUP,
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
from triptych.transfer.weights import load_backbone


@pytest.fixture
def backbone() -> Backbone:
    """The small network that ships with the project: real weights."""
    return load_backbone("shufflenet_v2_x0_5", "bundled")


@pytest.fixture(scope="module")
def crops(digits: BoardData) -> Pixels:
    """48 digits, cut out for that network."""
    preprocessing = load_backbone("shufflenet_v2_x0_5", "bundled").preprocessing
    return np.stack([preprocessing.crop(digits.images[index]) for index in range(48)])


def measure_as_if(monkeypatch: pytest.MonkeyPatch, exact_seconds: float) -> None:
    """Let a pass of the exact format take some seconds, and one of any other format a second."""
    seconds = chain(repeat(exact_seconds, TIMED_PASSES), repeat(1.0))

    def measure(job: Callable[[], object]) -> float:
        job()
        return next(seconds)

    monkeypatch.setattr(choose_precision, "_time", measure)


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
        assert one.cosine < MIN_COSINE or find_worst(embeddings, exact) >= MIN_COSINE
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
    monkeypatch.setattr(choose_precision, "measure_formats", None)
    chosen = choose_format_for(backbone, make_images(0), PRECISIONS[precision])
    assert chosen == (first, "too few images to measure the faster formats")
    assert not (cache / "number-formats").exists()


def test_a_format_is_proved_at_each_cut() -> None:
    cuts = [Cut("conv1.0"), Cut("stage2"), Cut("features")]
    backbones = [load_backbone("shufflenet_v2_x0_5", "random", cut) for cut in cuts]
    backbones = [replace(one, preprocessing=replace(one.preprocessing, crop_size=64)) for one in backbones]
    crops = np.random.default_rng(0).integers(0, 256, size=(2, 64, 64, 3), dtype=np.uint8)
    joint = join(backbones)
    assert joint is not None
    _, (_, measured) = measure_formats(joint, crops, 2, ["bfloat16"])
    alone = [
        worst_cosine(one.in_format("bfloat16").embed_crops(crops), one.in_format(EXACT).embed_crops(crops))
        for one in backbones
    ]
    assert len(set(alone)) == len(cuts)
    assert measured.cosine == pytest.approx(min(alone))


@dataclass(frozen=True)
class Broken(NumberFormat):
    def prepare(self, trunk: nn.Module) -> nn.Module:
        del trunk
        raise RuntimeError("no compiler")


@dataclass(frozen=True)
class Inexact(NumberFormat):
    def prepare(self, trunk: nn.Module) -> nn.Module:
        return nn.Sequential(trunk, nn.Dropout(0.5).train())


def test_formats_are_timed_on_as_many_images_as_are_embedded_at_once(
    backbone: Backbone, crops: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    real = type(backbone).launch_each

    def launch(self: Backbone, batch: Pixels) -> tuple[torch.Tensor, ...]:
        sizes.append(len(batch))
        return real(self, batch)

    monkeypatch.setattr(type(backbone), "launch_each", launch)
    monkeypatch.setattr(choose_precision, "TIMED_IMAGES", {"cpu": 9})
    _, measured = measure_formats(backbone, crops[:4], 100, ("float32-folded",))
    assert sorted(set(sizes)) == [4, 12]
    assert measured[-1].cosine > 1 - 1e-5


def test_a_format_that_fails_and_one_that_is_not_near_are_not_chosen(
    backbone: Backbone, crops: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    formats = {EXACT: FORMATS[EXACT], "broken": Broken(compiled=True), "inexact": Inexact(), "folded": NumberFormat()}
    formats["elsewhere"] = NumberFormat(devices=("cuda",))
    monkeypatch.setattr(choose_precision, "FORMATS", formats)
    monkeypatch.setattr("triptych.networks.backbones.FORMATS", formats)
    monkeypatch.setattr(choose_precision, "SECONDS_WORTH_COMPILING", {"cpu": 0.0, "cuda": 0.0})
    measure_as_if(monkeypatch, exact_seconds=2.0)
    chosen, measured = measure_formats(backbone, crops[:4], 100, tuple(formats))
    assert [one.name for one in measured] == [EXACT, "inexact", "folded"]
    assert measured[1].cosine < MIN_COSINE
    assert chosen == "folded"
    assert measure_formats(backbone, crops[:4], 10**6, (EXACT, "broken", "inexact"))[0] == EXACT


@pytest.mark.parametrize(
    ("faster", "gain", "cosine", "chosen"),
    [
        ("bfloat16-folded", MIN_SPEEDUP, MIN_COSINE, "bfloat16-folded"),
        ("bfloat16-folded", MIN_SPEEDUP - 0.01, 1.0, EXACT),
        ("bfloat16-folded", 50.0, MIN_COSINE - 1e-6, EXACT),
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

    monkeypatch.setattr(choose_precision, "measure_formats", measure)
    monkeypatch.setitem(OPERATIONS_WORTH_MEASURING, "cpu", 0.0)
    return seen


def make_images(seed: int, count: int = 20) -> ArrayImages:
    return ArrayImages(np.random.default_rng(seed).integers(0, 256, size=(count, 9, 8, 1), dtype=np.uint8))


def test_what_was_measured_is_remembered_for_this_network_alone(
    cache: Path, backbone: Backbone, measurements: list[int]
) -> None:
    chosen, reason = choose_format_for(backbone, make_images(0), PRECISIONS["auto"])
    assert chosen == "float32-folded"
    assert reason == "measured: float32 10 images/s (cosine 1.00000), float32-folded 50 images/s (cosine 0.99999)"
    [place] = (cache / "number-formats").iterdir()
    assert json.loads(place.read_text())["chosen"] == "float32-folded"
    os.utime(place, (0.0, 0.0))
    again = choose_format_for(backbone, make_images(1, 30), PRECISIONS["auto"])
    assert again == ("float32-folded", "measured earlier to be the fastest on this machine")
    assert place.stat().st_mtime > 0.0  # `triptych cache` keeps what is in use
    assert measurements == [20]
    other = load_backbone("squeezenet1_1", "random")
    assert choose_format_for(other, make_images(0), PRECISIONS["auto"])[1].startswith("measured")
    assert measurements == [20, 20]


def test_what_is_stored_already_is_used(cache: Path, backbone: Backbone, measurements: list[int]) -> None:
    images = make_images(0)
    place = cache / "number-formats"
    store_embeddings([backbone], images, batch_size=10, threads=1)
    assert choose_format_for(backbone, images, PRECISIONS["auto"]) == ("float32", "already stored")
    assert (measurements, place.exists()) == ([], False)
    others = make_images(1)
    assert choose_format_for(backbone, others, PRECISIONS["auto"])[0] == "float32-folded"
    store_embeddings([backbone.in_format("float32-folded")], others, batch_size=10, threads=1)
    assert choose_format_for(backbone, others, PRECISIONS["auto"]) == ("float32-folded", "already stored")
    assert choose_format_for(backbone, images, PRECISIONS["auto"]) == ("float32", "already stored")
    assert measurements == [20]
