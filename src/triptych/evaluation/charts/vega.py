"""Vega-Lite specifications drawn as SVG for pages and as PNG for runs.

A page holds the drawing and not Vega itself: its bundle has 0.9 MB, which every night would store again, and it writes
its labels for screen readers into the drawing. What a reader does with a chart, the script of the page does.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import vl_convert
from markupsafe import Markup
from PIL import Image

Spec = Mapping[str, Any]
Rows = Sequence[Mapping[str, Any]]

VERSION = "v6.1"
# Wide enough for a phone, so that its letters stay as large as they are.
SIZE = {"width": 330, "height": 240}
# Pixels of a PNG for each unit, and its colours.
SCALE, COLOURS = 1.5, 64
FONT = "system-ui, sans-serif"
# The colours of a page follow it from light to dark: these are variables of its style sheet. A PNG is light.
PAGE = {"ink": "var(--ink)", "line": "var(--line)"}
LIGHT = {"ink": "#1d2733", "line": "#d5dde5"}
# Nothing of these is seen or read aloud, or the style sheet has it.
SUPERFLUOUS = re.compile(
    r'<path class="(?:background|foreground)"(?=[^>]*(?:d=""|h0v0h0Z"))[^>]*/>'
    r'| font-family="[^"]*"| opacity="1"| pointer-events="none"| stroke-miterlimit="10"| xmlns:xlink="[^"]*"'
)
# What stands between tags is a text of the chart.
TAG = re.compile(r"<[^>]*>")
# Coordinates to a tenth of a unit.
COORDINATES = re.compile(r' (?:d|transform|x2|y2)="[^"]*"')
CLIP = re.compile(r'(?<= id=")clip\d+|(?<="url\(#)clip\d+')
LONG_NUMBER = re.compile(r"(\d+\.\d)\d+")


def draw(spec: Spec, name: str, description: str) -> Markup:
    """Return a chart as the SVG that a page includes.

    Args:
        spec: of Vega-Lite, without a size where it is the usual one.
        name: of the chart; no other chart of the page may have it.
        description: what it shows, for readers who do not see it.
    """
    drawing = vl_convert.vegalite_to_svg(_complete(spec, PAGE), vl_version=VERSION)
    clips: dict[str, int] = {}
    small = TAG.sub(lambda tag: _tidy(tag[0], name, clips), drawing)
    head = Markup('<svg role="graphics-document" aria-label="{}" ').format(description)
    return Markup(small.replace("<svg ", head, 1))  # noqa: S704 - Vega escapes what stands in the specification


def _tidy(tag: str, name: str, clips: dict[str, int]) -> str:
    """Return a tag of a drawing, smaller, and with ids that no other chart of the page has."""
    small = COORDINATES.sub(lambda found: LONG_NUMBER.sub(r"\1", found[0]), SUPERFLUOUS.sub("", tag))
    # The engine numbers the clips of all its drawings: here those of one, so that the same chart is the same text.
    return CLIP.sub(lambda found: f"{name}-clip{clips.setdefault(found[0], len(clips) + 1)}", small)


def draw_png(spec: Spec) -> bytes:
    """Return a chart as a PNG on white, of few colours: every run has one."""
    drawn = vl_convert.vegalite_to_png(
        _complete(spec, LIGHT) | {"background": "white"}, vl_version=VERSION, scale=SCALE
    )
    file = io.BytesIO()
    Image.open(io.BytesIO(drawn)).convert("RGB").quantize(COLOURS).save(file, "PNG")
    return file.getvalue()


def _complete(spec: Spec, colours: Mapping[str, str]) -> dict[str, Any]:
    """Return a specification with the usual size and style."""
    text = {"labelColor": colours["ink"], "titleColor": colours["ink"], "titleFontWeight": "normal"}
    lines = dict.fromkeys(("gridColor", "domainColor", "tickColor"), colours["line"])
    sizes = {"labelFontSize": 12, "titleFontSize": 12, "labelLimit": 200, "tickCount": 5}
    config = {
        "font": FONT,
        "view": {"stroke": None},
        "axis": {**text, **lines, **sizes},
        "header": text,
        "title": {"color": colours["ink"], "fontSize": 13},
        "text": {"color": colours["ink"], "fontSize": 12},
        "legend": {"labelColor": colours["ink"], "titleColor": colours["ink"], "symbolOpacity": 1},
    }
    size = {} if {"hconcat", "vconcat"} & spec.keys() else SIZE
    return {"background": None, **size, **spec, "config": config}


def axis(field: str, title: str, **more: Any) -> dict[str, Any]:
    """Return the encoding of numbers along an axis whose ends are where the data are, unless a scale says otherwise."""
    return {"field": field, "type": "quantitative", "title": title, "scale": {"zero": False}, **more}


def colour(colours: Mapping[str, str], *, legend: bool = False) -> dict[str, Any]:
    """Return the encoding of panels by their colours; a page has one legend for all charts."""
    scale = {"domain": [*colours], "range": [*colours.values()]}
    return {"field": "panel", "type": "nominal", "scale": scale, "legend": {"title": None} if legend else None}


def shape(colours: Mapping[str, str]) -> dict[str, Any]:
    """Return the encoding of panels by shapes, for readers who see no colours."""
    return {"field": "panel", "type": "nominal", "scale": {"domain": [*colours]}, "legend": None}
