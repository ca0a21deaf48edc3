from __future__ import annotations

import pytest
from scipy.stats import binomtest

from triptych.data.checks.rules import count_decisive_images, explain_resolution


def test_what_a_test_part_can_tell_apart() -> None:
    # By hand: 2 * 0.5**6 = 0.03125 is below 5 %, 2 * 0.5**5 = 0.0625 is not.
    assert count_decisive_images(0.05) == 6
    assert binomtest(0, 6).pvalue == pytest.approx(0.03125)
    # Wilson, 90 of 100: 0.8256 to 0.9448.
    assert "about 6.0 points" in explain_resolution(100)
    assert "the smallest significant difference between two models is 6 points: 6 images" in explain_resolution(100)
    assert "no difference between two models can be significant" in explain_resolution(5)


def test_a_few_test_images_can_show_a_hundred_points_only() -> None:
    assert "between two models is 100 points" in explain_resolution(count_decisive_images(0.05))
