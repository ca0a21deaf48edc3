from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.sparse import csr_array

from triptych.evaluation.figures.classes import (
    EXTREMES,
    SHOWN_CLASSES,
    SHOWN_PAIRS,
    draw_classes,
    draw_confusions,
    draw_difference,
)
from triptych.evaluation.metrics import count_confusions

MANY = tuple(f"class {number}" for number in range(200))


def list_lengths(axes: Any) -> list[float]:
    """Return the lengths of the bars of a chart, with their signs."""
    return [bar.get_width() for bar in axes.patches]


def draw(figure: Figure) -> None:
    """Draw a figure, which parses its texts."""
    figure.savefig(io.BytesIO(), format="png")


def test_a_matrix_shows_every_count_but_zeros_as_long_as_there_are_few_classes() -> None:
    counts = csr_array([[3, 1], [0, 5]])
    figure = draw_confusions(counts, ("ant", "bee $"), "a title")
    draw(figure)
    assert {text.get_text() for text in figure.axes[0].texts} == {"3", "1", "5"}


def test_of_many_classes_the_pairs_that_are_confused_most_are_shown() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 200, 2000)
    # Every third image is an error; class 7 is often taken for class 9.
    predicted = np.where(np.arange(2000) % 3 == 0, rng.integers(0, 200, 2000), labels)
    labels[:60], predicted[:60] = 7, 9
    figure = draw_confusions(count_confusions(labels, predicted, 200), MANY, "a panel")
    draw(figure)
    [axes] = figure.axes
    assert len(axes.patches) == SHOWN_PAIRS
    assert axes.get_yticklabels()[0].get_text() == "class 7 → class 9"
    lengths = list_lengths(axes)
    assert lengths[0] >= 60
    assert lengths == sorted(lengths, reverse=True)
    wrong = {(a, b) for a, b in zip(labels.tolist(), predicted.tolist(), strict=True) if a != b}
    assert axes.get_title() == f"a panel\nthe 20 largest of {len(wrong)} confused pairs, true → predicted"


def test_of_many_classes_the_pairs_that_differ_most_are_shown() -> None:
    first, second = (np.array([5, 5, 5, 9]), np.array([6, 6, 5, 9])), (np.array([5, 5, 5, 9]), np.array([5, 5, 5, 8]))
    counts = [count_confusions(*one, 200) for one in (first, second)]
    figure = draw_difference(counts[0], counts[1], MANY, "one minus other")
    [axes] = figure.axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["class 5 → class 6", "class 9 → class 8"]
    assert list_lengths(axes) == [2, -1]


def test_a_panel_without_errors_has_a_figure() -> None:
    figure = draw_confusions(count_confusions(np.arange(200), np.arange(200), 200), MANY, "perfect")
    draw(figure)
    assert not figure.axes[0].patches


@pytest.mark.parametrize(("classes", "shown"), [(2, 2), (SHOWN_CLASSES, 20), (SHOWN_CLASSES + 1, 20), (200, 20)])
def test_recall_is_shown_of_few_classes_or_of_the_worst_and_the_best(classes: int, shown: int) -> None:
    recalls = {"numpy-mlp": np.linspace(1.0, 0.5, classes), "resnet50": np.linspace(1.0, 0.6, classes)}
    figure = draw_classes(
        {label: row.tolist() for label, row in recalls.items()},
        MANY[:classes],
        {"numpy-mlp": "red", "resnet50": "blue"},
    )
    draw(figure)
    [axes] = figure.axes
    assert len(axes.patches) == 2 * shown
    names = [text.get_text() for text in axes.get_xticklabels()]
    if classes <= SHOWN_CLASSES:
        assert names == list(MANY[:classes])
        assert not axes.get_title()
    else:
        assert (names[0], names[EXTREMES - 1], names[-1]) == (MANY[classes - 1], MANY[classes - EXTREMES], MANY[0])
        assert f"without {classes - 20} others" in axes.get_title()


def test_classes_without_test_images_are_no_extremes() -> None:
    recall = [float("nan")] * 150 + [0.5] * 50
    figure = draw_classes({"numpy-mlp": recall}, MANY, {"numpy-mlp": "red"})
    bars: Any = figure.axes[0].patches
    assert {bar.get_height() for bar in bars} == {0.5}
