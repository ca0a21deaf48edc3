"""The test images on which two panels disagree, as one picture: MLflow shows pictures among its charts, not pages."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import vl_convert
from markupsafe import Markup
from PIL import Image

from triptych.errors import escape_controls
from triptych.evaluation.page.pictures import embed_thumbnail
from triptych.evaluation.predictions import Predictions
from triptych.images.sources import ImageSource

COLUMNS, SHOWN = 4, 12
# Sides and the height of a line of text, in pixels.
TILE, SIDE, LINE = 156, 112, 15
LINES_OF_A_TILE, LINES_OF_THE_HEADING, LONGEST_NAME = 3, 3, 12
TOP, TALL = LINE * (LINES_OF_THE_HEADING + 1), SIDE + LINE * (LINES_OF_A_TILE + 1)
# A photo of this size looks the same in so many colours, and takes a third of the bytes.
PALETTE = 256
SHEET = Markup(
    '<svg xmlns="http://www.w3.org/2000/svg" width="{}" height="{}" font-family="sans-serif" font-size="12">'
)
PAPER = Markup('<rect width="100%" height="100%" fill="white"/>')
PICTURE = Markup('<image x="{}" y="{}" width="{}" height="{}" href="{}" style="image-rendering:pixelated"/>')
TEXT = Markup('<text x="{}" y="{}">{}</text>')


def draw_disagreements(
    images: ImageSource, classes: Sequence[str], predicted: Mapping[str, Predictions]
) -> Image.Image | None:
    """Return a picture of images to which two panels give different answers, the most certain ones first.

    Args:
        images: of the board.
        classes: the class names.
        predicted: of the same test images by each of two panels, by their labels.

    Returns:
        None if the panels give the same answers.
    """
    a, b = predicted.values()
    differing = np.flatnonzero(a.predicted != b.predicted)
    certain = (a.confidence + b.confidence)[differing]
    rows = differing[np.argsort(-certain, kind="stable")][:SHOWN]
    if not len(rows):
        return None
    heading = [
        *(f"{letter}: {label}" for letter, label in zip("AB", predicted, strict=True)),
        f"{len(differing)} of {len(a.labels)} test images get different answers: the {len(rows)} most certain",
    ]
    parts = [SHEET.format(COLUMNS * TILE, TOP + -(-len(rows) // COLUMNS) * TALL), PAPER, *_write(0, 0, heading)]
    for place, row in enumerate(map(int, rows)):
        left, upper = place % COLUMNS * TILE, TOP + place // COLUMNS * TALL
        picture = embed_thumbnail(images, int(a.indices[row]), SIDE)
        parts.append(PICTURE.format(left + LINE // 2, upper, SIDE, SIDE, picture))
        answers = [f"{letter}: {_answer(one, row, classes)}" for letter, one in zip("AB", (a, b), strict=True)]
        parts += _write(left, upper + SIDE, [f"true: {_shorten(classes[int(a.labels[row])])}", *answers])
    drawn = vl_convert.svg_to_png("".join(parts) + "</svg>", ppi=72)
    return Image.open(io.BytesIO(drawn)).convert("RGB").quantize(PALETTE)


def _answer(one: Predictions, row: int, classes: Sequence[str]) -> str:
    return f"{_shorten(classes[int(one.predicted[row])])} ({one.confidence[row]:.2f})"


def _shorten(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def _write(left: int, top: int, lines: Sequence[str]) -> Iterator[Markup]:
    for number, line in enumerate(lines, start=1):
        yield TEXT.format(left + LINE // 2, top + number * LINE, escape_controls(line))
