"""The learning curves of a board as the rows of a table, and as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence

from triptych.evaluation.amount.drawing import chart_amounts
from triptych.evaluation.amount.forecast import Amount, Estimate
from triptych.evaluation.charts.colours import choose_colours
from triptych.evaluation.charts.vega import draw
from triptych.evaluation.environment import build_environment

NOTE = (
    "Every accuracy is that of the same test images. Intervals count both the test images and the draws of the "
    "training images. A forecast is a power law, a + b * n^-c, fitted to the errors, and holds "
    "for images of the same kind."
)


def build_amount_rows(amounts: Sequence[Amount]) -> list[dict[str, str]]:
    """Return a row for each panel and number of training images."""
    return [
        {
            "panel": amount.label,
            "images": f"{point.images:,}",
            "accuracy (%)": f"{100 * point.value:.1f}",
            "interval": f"{100 * point.low:.1f} to {100 * point.high:.1f}",
            "gain in points": _format_gain(gain),
        }
        for amount in amounts
        for point, gain in [
            *((point, None) for point in amount.measured),
            *zip(amount.forecast, amount.gains, strict=True),
        ]
    ]


def _format_gain(gain: Estimate | None) -> str:
    """Return the gain of a forecast; nothing for what was measured."""
    if gain is None:
        return "measured"
    return f"+{100 * gain.value:.1f} ({100 * gain.low:.1f} to {100 * gain.high:.1f})"


def render_amount_page(board: str, amounts: Sequence[Amount]) -> str:
    """Return the page as HTML.

    Args:
        board: the board's name.
        amounts: the learning curve of each panel, one or more.
    """
    colours = choose_colours(amount.panel for amount in amounts)
    chart = chart_amounts(amounts, {amount.label: colours[amount.panel] for amount in amounts})
    return (
        build_environment()
        .get_template("amount.html")
        .render(
            board=board,
            sentences=[amount.sentence for amount in amounts],
            chart=draw(chart, "amounts", "Test accuracy by the number of training images"),
            rows=build_amount_rows(amounts),
            note=NOTE,
        )
    )
