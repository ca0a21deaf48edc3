from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from triptych.evaluation.charts.classes import (
    EXTREMES,
    MEMBERS,
    SHOWN_CLASSES,
    SHOWN_PAIRS,
    chart_confusions,
    chart_recalls,
    list_confused,
)
from triptych.evaluation.charts.vega import draw
from triptych.evaluation.metrics import count_confusions

MANY = tuple(f"class {number}" for number in range(200))


def test_a_matrix_shows_every_count_but_zeros_as_long_as_there_are_few_classes() -> None:
    drawn = draw(chart_confusions(csr_array([[3, 1], [0, 5]]), ("ant", "ant"), "a title"), "x", "x")
    for count in (3, 1, 5):
        assert f">{count}</text>" in drawn
    assert ">0</text>" not in drawn
    # Two classes of one name stay two.
    assert "ant (2)" in drawn


def test_classes_may_be_called_like_members_of_an_object() -> None:
    recalls = {"numpy-mlp": [0.5] * len(MEMBERS)}
    drawn = draw(chart_recalls(recalls, sorted(MEMBERS), {"numpy-mlp": "#0072B2"}, 0.5), "x", "x")
    assert all(f">{name}</text>" in drawn for name in MEMBERS)
    counts = csr_array(np.eye(len(MEMBERS), dtype=np.int64))
    assert ">constructor</text>" in draw(chart_confusions(counts, sorted(MEMBERS), "a title"), "x", "x")


def test_of_many_classes_the_pairs_that_are_confused_most_are_shown() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 200, 2000)
    # Every third image is an error; class 7 is often taken for class 9.
    predicted = np.where(np.arange(2000) % 3 == 0, rng.integers(0, 200, 2000), labels)
    labels[:60], predicted[:60] = 7, 9
    counts = count_confusions(labels, predicted, 200)
    spec: Any = chart_confusions(counts, MANY, "a panel")
    rows = spec["data"]["values"]
    assert len(rows) == SHOWN_PAIRS
    assert rows[0]["pair"] == "1. class 7 → class 9"
    wrong = {(a, b) for a, b in zip(labels.tolist(), predicted.tolist(), strict=True) if a != b}
    assert spec["title"]["subtitle"] == f"the 20 largest of {len(wrong)} confused pairs, true → predicted"
    lengths = [images for _, _, images in list_confused(counts)]
    assert lengths[0] >= 60
    assert lengths == sorted(lengths, reverse=True)


def test_a_panel_without_errors_has_a_chart() -> None:
    assert "perfect" in draw(
        chart_confusions(count_confusions(np.arange(200), np.arange(200), 200), MANY, "perfect"), "x", "x"
    )


@pytest.mark.parametrize(("classes", "shown"), [(2, 2), (SHOWN_CLASSES, 20), (SHOWN_CLASSES + 1, 20), (200, 20)])
def test_recall_is_shown_of_few_classes_or_of_the_worst_and_the_best(classes: int, shown: int) -> None:
    recalls = {
        "numpy-mlp": np.linspace(1.0, 0.5, classes).tolist(),
        "resnet50": np.linspace(1.0, 0.6, classes).tolist(),
    }
    spec: Any = chart_recalls(recalls, MANY[:classes], {"numpy-mlp": "#0072B2", "resnet50": "#D55E00"}, 0.9)
    assert len(spec["data"]["values"]) == 2 * shown
    names = spec["encoding"]["y"]["sort"]
    if classes <= SHOWN_CLASSES:
        assert names == list(MANY[:classes])
    else:
        assert (names[0], names[EXTREMES - 1], names[-1]) == (MANY[classes - 1], MANY[classes - EXTREMES], MANY[0])


def test_classes_without_test_images_are_no_extremes() -> None:
    recall = [float("nan")] * 150 + [0.5] * 50
    spec: Any = chart_recalls({"numpy-mlp": recall}, MANY, {"numpy-mlp": "#0072B2"}, 0.5)
    assert {row["recall"] for row in spec["data"]["values"]} == {0.5}
