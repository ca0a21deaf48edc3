from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest

from triptych.data.boards import BoardData
from triptych.evaluation.page.embedding_map import HEIGHT, MOST_POINTS, WIDTH, describe_map, draw_map
from triptych.evaluation.predictions import Predictions

Point = tuple[int, int]


def test_points_keep_the_distances_of_a_plane(digits: BoardData) -> None:
    # The features lie on a plane already, turned into 20 dimensions.
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(len(digits.labels), 2)) * [3, 1]
    features = (plane @ np.linalg.qr(rng.normal(size=(20, 20)))[0][:2]).astype(np.float32)
    test = digits.split.test
    tested = Predictions(test, (digits.labels[test] + (np.arange(540) < 5)) % 10, np.eye(10)[digits.labels[test]])
    drawn = draw_map(digits, features, tested, frozenset({7}), 1_000_000)
    assert drawn["explained"] == pytest.approx(1.0)
    assert len(drawn["names"]) == MOST_POINTS
    points: list[Point] = [
        (int(x), int(y)) for group in drawn["groups"] for x, y in re.findall(r"M(\d+) (\d+)h0", group["path"])
    ]
    assert len(points) == MOST_POINTS
    assert max(x for x, _ in points) <= WIDTH
    assert max(y for _, y in points) <= HEIGHT
    places = [int(name.removeprefix("image ")) for name in drawn["names"]]
    far = [np.linalg.norm(plane[a] - plane[b]) for a, b in pairwise(places)]
    drawn_far = [np.linalg.norm(np.subtract(a, b)) for a, b in pairwise(points)]
    assert np.corrcoef(far, drawn_far)[0, 1] > 0.999
    # What matters is drawn last.
    assert [group["suspected"] for group in drawn["groups"]].index(True) == len(drawn["groups"]) - 1
    assert sum(group["path"].count("M") for group in drawn["groups"] if group["wrong"]) == 5
    assert "800 images by the first two principal components" in describe_map(drawn)


def test_few_features_and_no_room_for_pictures_are_no_fault(digits: BoardData) -> None:
    test = digits.split.test
    tested = Predictions(test, digits.labels[test], np.eye(10)[digits.labels[test]])
    for features in (np.ones((len(digits.labels), 1), np.float32), np.ones((len(digits.labels), 3), np.float32)):
        drawn = draw_map(digits, features, tested, frozenset(), 10)
        assert drawn["tiles"] == ""
        assert drawn["explained"] in (0.0, 1.0)
