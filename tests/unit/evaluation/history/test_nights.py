from __future__ import annotations

import json

import pytest

from helpers.nights import make_night
from triptych.evaluation.history.drift import Drift
from triptych.evaluation.history.nights import Night, count_independent, describe_panels
from triptych.evaluation.statistics import wilson_interval


def test_a_night_is_the_same_after_a_round_trip_through_json() -> None:
    night = make_night(3, 500, 510, missing=("vgg16 (no weights)",), drift=Drift("vgg16", 4, 100, 0.1, 0.001), number=3)
    assert Night.from_json(json.loads(json.dumps(night.as_json()))) == night
    assert (night.date[:7], night.month) == ("2026-01", "2026-01")
    assert night.find("panel-1") is night.panels[1]


@pytest.mark.parametrize(("right", "images"), [(0, 50), (25, 50), (50, 50), (520, 540), (20_000, 21_000)])
@pytest.mark.parametrize("clustering", [1.0, 4.0])
def test_the_interval_says_how_many_images_are_independent(right: int, images: int, clustering: float) -> None:
    low, _ = wilson_interval(right, images, 0.95, clustering)
    found = count_independent(right / images, low, images, 0.95)
    assert found == pytest.approx(images / clustering if right else images, rel=0.15)


def test_a_panel_is_named_by_the_beginning_of_its_label() -> None:
    standing = {"label": "vgg16 (random weights)", "test_accuracy": 0.8, "low": 0.4902, "high": 0.94}
    standing |= {"test_log_loss": 0.5, "fit_seconds": 2.0, "embed_seconds": None}
    [panel] = describe_panels([standing], 10, 0.95)
    assert (panel.panel, panel.seconds, panel.independent_images) == ("vgg16", 2.0, 10)
