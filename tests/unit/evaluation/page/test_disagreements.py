from __future__ import annotations

import numpy as np
import pytest

from triptych.evaluation.page.disagreements import LINE, SHOWN, SIDE, TILE, draw_disagreements
from triptych.evaluation.predictions import Predictions
from triptych.images.sources import ArrayImages

IMAGES, CLASSES = 30, ("ants \n", "bees and everything else that hums")
# Every image is gray, and lighter than the one before.
GRAYS = ArrayImages((np.arange(IMAGES, dtype=np.uint8) * 8)[:, None, None, None] * np.ones((1, 8, 6, 1), np.uint8))


def predict(confidences: list[float]) -> Predictions:
    """Return predictions of the first class with some confidences in the last images of the data set, backwards."""
    images = len(confidences)
    rows = np.arange(IMAGES)[::-1][:images]
    first = np.asarray(confidences)
    return Predictions(rows, np.zeros(images, dtype=np.int64), np.stack([first, 1 - first], axis=1))


def test_the_most_certain_disagreements_come_first() -> None:
    a, b = predict([0.9, 0.6, 0.9, 0.9]), predict([0.4, 0.4, 0.8, 0.1])
    drawn = draw_disagreements(GRAYS, CLASSES, {"a": a, "b $": b})
    assert drawn is not None
    assert drawn.width >= 3 * TILE
    centre = LINE * 4 + SIDE // 2
    shown = [drawn.convert("RGB").getpixel((place * TILE + TILE // 2, centre)) for place in range(4)]
    # Of rows 3, 0 and 1; where they agree, in row 2, there is nothing to show.
    assert shown == [*((8 * (IMAGES - 1 - row),) * 3 for row in (3, 0, 1)), (255,) * 3]


@pytest.mark.parametrize(("images", "rows"), [(4, 1), (5, 2), (IMAGES, SHOWN // 4)])
def test_the_picture_is_as_high_as_its_images_and_never_higher(images: int, rows: int) -> None:
    drawn = draw_disagreements(GRAYS, CLASSES, {"a": predict([0.9] * images), "b": predict([0.1] * images)})
    assert drawn is not None
    assert rows * SIDE < drawn.height < (rows + 1) * (SIDE + 4 * LINE)


def test_panels_that_agree_need_no_picture() -> None:
    assert draw_disagreements(GRAYS, CLASSES, {"a": predict([0.9, 0.1]), "b": predict([0.6, 0.2])}) is None
