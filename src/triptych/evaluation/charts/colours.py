"""The colour of each panel, and names as axes show them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from triptych.config.trainers import KIND_OF_PANEL
from triptych.errors import escape_controls

# Each has a contrast of at least 3 to a white and to a dark page, and differs from all others as much as twenty such
# colours can, also for readers with red-green blindness. The first and others are from Okabe and Ito's palette.
COLOURS = (
    *("#0072B2", "#D55E00", "#69694B", "#CC79A7", "#8700FF", "#B41E87", "#E14BFF", "#8778D2", "#FF3C78", "#D2003C"),
    *("#E10FB4", "#A54BE1", "#96874B", "#0096FF", "#5A8787", "#695A96", "#B44B69", "#6996D2", "#009E73", "#3C9600"),
)
# The panels that have a name of their own take the first colours; those named after a network share the others.
OWN_COLOURS = len(KIND_OF_PANEL)
# Longer names of classes are shortened on axes.
LONGEST_NAME = 24


def choose_colours(panels: Iterable[str]) -> dict[str, str]:
    """Return the colour of each panel of a board, which depends on its name, and no colour twice for up to 20 panels.

    A network keeps its colour from board to board, unless another one of the board has the same: then the one that
    comes later in the alphabet takes the next free colour.

    Args:
        panels: the names of all panels of the board, in any order.

    >>> choose_colours(["torch-mlp", "numpy-mlp"])
    {'numpy-mlp': '#0072B2', 'torch-mlp': '#D55E00'}
    """
    places = range(len(COLOURS))
    chosen: dict[str, int] = {}
    for panel in sorted(set(panels), key=lambda name: (name not in KIND_OF_PANEL, name)):
        first = _find_place(panel)
        # The colours of the panels that have their own come last.
        following = [*places[first:], *places[OWN_COLOURS:first], *places[:OWN_COLOURS]]
        chosen[panel] = next((place for place in following if place not in chosen.values()), first)
    return {panel: COLOURS[place] for panel, place in chosen.items()}


def _find_place(panel: str) -> int:
    """Return the place of a panel's colour among `COLOURS`, the same in every process and version of Python."""
    if panel in KIND_OF_PANEL:
        return list(KIND_OF_PANEL).index(panel)
    digest = hashlib.sha256(panel.encode()).digest()
    return OWN_COLOURS + int.from_bytes(digest[:4]) % (len(COLOURS) - OWN_COLOURS)


def shorten(name: str) -> str:
    """Return a name as an axis shows it, its middle left out where it is long.

    >>> shorten("tench"), shorten("Tinca tinca, the freshwater fish, from above")
    ('tench', 'Tinca tinca…, from above')
    """
    half = LONGEST_NAME // 2
    return escape_controls(name if len(name) <= LONGEST_NAME else f"{name[: half - 1]}…{name[-half:]}")
