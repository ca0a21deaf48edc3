from __future__ import annotations

import io
from typing import Any
from xml.etree import ElementTree as ET

from PIL import Image

from triptych.evaluation.charts.vega import axis, colour, draw, draw_png

NAME = '<b> & "bees" $5'
SPEC: dict[str, Any] = {
    "data": {"values": [{"panel": NAME, "x": 0.125, "y": 2}, {"panel": NAME, "x": 1, "y": 3}]},
    "mark": {"type": "line", "clip": True},
    "encoding": {
        "x": axis("x", NAME),
        "y": axis("y", "y"),
        "color": colour({NAME: "#0072B2"}),
        "description": {"field": "panel"},
    },
}


def test_a_drawing_follows_the_colours_of_its_page_and_asks_for_nothing() -> None:
    drawn = draw(SPEC, "costs", NAME)
    # It is well-formed, and whatever comes from outside is text.
    root = ET.fromstring(drawn)  # noqa: S314 - our own
    assert root.get("aria-label") == NAME
    assert NAME in ["".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert NAME in [mark.get("aria-label") for mark in root.iter()][1:]
    assert "var(--ink)" in drawn
    assert "url(#costs-clip1)" in drawn
    assert 'id="costs-clip1"' in drawn
    assert "0.125" not in drawn.split("<text")[0]
    assert "http" not in drawn.replace("http://www.w3.org/2000/svg", "")


def test_texts_that_look_like_attributes_stay_as_they_are() -> None:
    texts = ["clip1", 'a transform="1.2345" opacity="1"', 'id="clip1" x="url(#clip1)"']
    encoding = {**SPEC["encoding"], "y": {"field": "panel", "type": "nominal"}}
    rows = [{"panel": text, "x": 1} for text in texts]
    root = ET.fromstring(draw({**SPEC, "data": {"values": rows}, "encoding": encoding}, "x", "x"))  # noqa: S314 - our own
    elements = [*root.iter()]
    assert {*texts} <= {element.text for element in elements}
    assert {*texts} <= {element.get("aria-label") for element in elements}


def test_numbers_beside_the_axes_are_whole() -> None:
    points = [{"panel": "a", "x": x, "y": 1} for x in (0.9715, 0.9725)]
    encoding = {**SPEC["encoding"], "x": axis("x", "x", axis={"values": [0.9715, 0.9725], "format": ".4f"})}
    drawn = draw({**SPEC, "data": {"values": points}, "encoding": encoding}, "x", "x")
    assert ">0.9715<" in drawn


def test_a_picture_is_on_white() -> None:
    picture = Image.open(io.BytesIO(draw_png(SPEC))).convert("RGB")
    assert picture.getpixel((1, 1)) == (255, 255, 255)
    assert min(picture.size) > 400
