"""What the script of a page reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from triptych.errors import escape_controls
from triptych.evaluation.charts.panels import Curves

# The curves whose values the page shows under the pointer.
CURVES = ("val_accuracy", "val_log_loss")


def collect_script_data(
    classes: Sequence[str],
    mistakes: Mapping[str, Any],
    described: Mapping[str, Any],
    colours: Mapping[str, str],
    curves: Mapping[str, Sequence[Curves]],
    mapped: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return what the script of a page reads, as JSON values; names from outside are only text.

    Args:
        classes: the class names.
        mistakes: as `collect_mistakes` returns them.
        described: as `describe_classes` returns it.
        colours: the colour of each label.
        curves: for each label and repeat, the metrics of each epoch.
        mapped: as `draw_map` returns it; None without a map.
    """
    return {
        "classes": [escape_controls(name) for name in classes],
        "mistakes": {**mistakes, "images": [escape_controls(name) for name in mistakes["images"]]},
        "perClass": described,
        "colours": dict(colours),
        "curves": {
            label: {
                name: [round(fmean(now), 4) for now in _zip_longest([one[name] for one in repeats if one.get(name)])]
                for name in CURVES
            }
            for label, repeats in curves.items()
        },
        "map": mapped
        and {"names": [escape_controls(name) for name in mapped["names"]], "perRow": mapped["tiles_per_row"]},
    }


def _zip_longest(repeats: Sequence[Sequence[float]]) -> list[list[float]]:
    """Return for each epoch the values of the repeats that have not stopped yet."""
    longest = max(map(len, repeats), default=0)
    return [[values[epoch] for values in repeats if len(values) > epoch] for epoch in range(longest)]
