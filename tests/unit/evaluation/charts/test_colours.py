from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from triptych.config.names import BACKBONE_NAMES
from triptych.config.trainers import KIND_OF_PANEL, PANEL_NAMES
from triptych.evaluation.charts.colours import COLOURS, LONGEST_NAME, choose_colours, shorten

# The papers of the report's page in light and in dark mode.
PAPERS = ("#ffffff", "#11161c")


def to_rgb(colour: str) -> NDArray[np.float64]:
    """Return red, green and blue, each 0..1."""
    return np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])


def luminance(colour: str) -> float:
    """Return the relative luminance of the WCAG."""
    channels = to_rgb(colour)
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("paper", PAPERS)
def test_every_colour_is_readable_on_the_page(paper: str) -> None:
    for colour in COLOURS:
        darker, lighter = sorted((luminance(colour), luminance(paper)))
        assert (lighter + 0.05) / (darker + 0.05) >= 3.0, colour


def test_no_two_colours_are_alike() -> None:
    assert len(set(COLOURS)) == 20
    assert min(np.abs(np.subtract(to_rgb(a), to_rgb(b))).max() for a, b in combinations(COLOURS, 2)) > 0.1


@pytest.mark.parametrize("start", range(0, len(PANEL_NAMES), 9))
def test_twenty_panels_have_twenty_colours_in_any_order(start: int) -> None:
    panels = [*PANEL_NAMES, *PANEL_NAMES][start : start + 20]
    colours = choose_colours(panels)
    assert len(set(colours.values())) == 20
    assert choose_colours(reversed(panels)) == colours


def test_a_panel_has_the_same_colour_on_every_board() -> None:
    for panel in (*KIND_OF_PANEL, "resnet50"):
        alone = choose_colours([panel])[panel]
        assert choose_colours([*KIND_OF_PANEL, panel, "vgg16"])[panel] == alone
    # What it was yesterday: the hash of a string would differ from process to process.
    assert choose_colours(["numpy-mlp", "vgg16"]) == {"numpy-mlp": "#0072B2", "vgg16": "#E14BFF"}


def test_more_panels_than_colours_share_them() -> None:
    colours = choose_colours(BACKBONE_NAMES)
    assert set(colours) == set(BACKBONE_NAMES)
    assert set(colours.values()) == set(COLOURS)


def test_the_end_of_a_long_name_is_shown() -> None:
    assert len(shorten("n01440764, Tinca tinca, the tench")) == LONGEST_NAME
    assert shorten("a\tb") == r"a\tb"
