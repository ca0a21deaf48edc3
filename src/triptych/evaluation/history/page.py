"""The nights of boards as the rows of a table, and as one self-contained HTML page without scripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from triptych.evaluation.charts.colours import choose_colours
from triptych.evaluation.charts.vega import draw
from triptych.evaluation.environment import build_environment
from triptych.evaluation.history.alarm import FEWEST, MOST, NIGHTS_OF_A_YEAR, YEARLY_LEVEL
from triptych.evaluation.history.changes import KINDS, Change
from triptych.evaluation.history.charts import chart_accuracies, chart_images, chart_quantity, choose_shown
from triptych.evaluation.history.nights import Night

# The line of a panel on a terminal.
BARS, SHOWN_NIGHTS = "▁▂▃▄▅▆▇█", 12
LEGEND = (
    f"points: change since the night before; nights: accuracy of the last {SHOWN_NIGHTS}, "
    f"{BARS[0]} the lowest and {BARS[-1]} the highest of a panel"
)
# Of a chart on a phone, where it keeps the size of its letters, and elsewhere.
WIDTHS = {"phone": 285, "screen": 855}
NOTE = (
    f"An alarm says that a panel is worse than both the test images and the spread between the last {MOST} nights with "
    f"different results explain, of which it needs at least {FEWEST}. Its level, {100 * YEARLY_LEVEL:g} % divided by "
    f"{NIGHTS_OF_A_YEAR} nights and the panels, means one false alarm of a board in {1 / YEARLY_LEVEL:.0f} years."
)


@dataclass(frozen=True)
class BoardHistory:
    """The nights of a board that are shown.

    Attributes:
        board: its name.
        summary: the last night in one sentence.
        nights: in order, one or more.
        changes: what happened in them.
        link: to MLflow's chart of the same; empty if there is none.
    """

    board: str
    summary: str
    nights: Sequence[Night]
    changes: Sequence[Change]
    link: str = ""

    @property
    def alarms(self) -> list[str]:
        """What is worse in the last night with a result than chance explains, a sentence for each panel."""
        measured = [night for night in self.nights if night.panels]
        return [one.text for one in self.changes if one.kind == "worse" and one.night is measured[-1]]

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        changes = [
            {"comparison": one.night.comparison, "date": one.night.date, "kind": one.kind, "text": one.text}
            for one in self.changes
        ]
        nights = [night.as_json() for night in self.nights]
        return {"board": self.board, "summary": self.summary, "link": self.link, "changes": changes, "nights": nights}


def build_panel_rows(history: BoardHistory) -> list[dict[str, str]]:
    """Return a row for each panel of the last night with a result, and how its accuracy went."""
    measured = [night for night in history.nights if night.panels]
    rows = []
    for one in measured[-1].panels if measured else ():
        found = [same.accuracy for night in measured if (same := night.find(one.panel))]
        rows.append(
            {
                "panel": one.label,
                "accuracy": f"{one.accuracy:.4f}",
                "interval": f"{one.low:.4f}-{one.high:.4f}",
                "log loss": f"{one.log_loss:.4f}",
                "points": f"{100 * (one.accuracy - found[-2]):+.2f}" if len(found) > 1 else "-",
                "nights": draw_line(found[-SHOWN_NIGHTS:]),
            }
        )
    return rows


def draw_line(values: Sequence[float]) -> str:
    """Return numbers as a line of bars, from the lowest to the highest.

    >>> draw_line([0.9, 0.95, 1.0]), draw_line([0.9, 0.9])
    ('▁▄█', '▁▁')
    """
    low, spread = min(values), max(values) - min(values)
    return "".join(BARS[int((value - low) / spread * (len(BARS) - 1) + 0.5) if spread else 0] for value in values)


def build_rows(history: BoardHistory) -> list[dict[str, str]]:
    """Return a row for each night, the newest first: when, the accuracy of each panel, the images and what happened."""
    panels = list(dict.fromkeys(one.label for night in reversed(history.nights) for one in night.panels))
    happened: dict[str, list[str]] = {}
    for change in history.changes:
        happened.setdefault(change.night.comparison, []).append(KINDS[change.kind])
    return [
        {
            "night": f"{night.time:%Y-%m-%d %H:%M}",
            **{label: _format_accuracy(night, label) for label in panels},
            "images": f"{sum(night.images.values()):,}",
            "what happened": ", ".join(dict.fromkeys(happened.get(night.comparison, ()))) or "-",
        }
        for night in reversed(history.nights)
    ]


def _format_accuracy(night: Night, label: str) -> str:
    return next((f"{one.accuracy:.4f}" for one in night.panels if one.label == label), "-")


def render_history_page(histories: Sequence[BoardHistory]) -> str:
    """Return the page as HTML.

    Args:
        histories: one for each board, one or more.
    """
    boards = [_show(number, history) for number, history in enumerate(histories)]
    return build_environment().get_template("history.html").render(boards=boards, note=NOTE)


def _show(number: int, history: BoardHistory) -> dict[str, Any]:
    nights = history.nights
    chosen = choose_colours(one.panel for night in nights for one in night.panels)
    shown = choose_shown(nights)
    colours = {panel: chosen[panel] for panel in shown}
    charts = {}
    if colours:
        charts = {
            "Test accuracy with its interval, and what happened": partial(
                chart_accuracies, nights, history.changes, colours
            ),
            "Log loss on the test set": partial(chart_quantity, nights, colours, "log_loss"),
            "Seconds for embedding and fitting (log scale); embeddings that an earlier night stored take none": partial(
                chart_quantity, nights, colours, "seconds"
            ),
            "Images of each part": partial(chart_images, nights),
        }
    return {
        "history": history,
        "colours": colours,
        "left_out": [panel for panel in chosen if panel not in colours],
        "charts": [
            (title, [(size, draw(chart(width), f"b{number}c{place}{size}", title)) for size, width in WIDTHS.items()])
            for place, (title, chart) in enumerate(charts.items())
        ],
        "rows": build_rows(history),
        "kinds": KINDS,
    }


def select_since(history: BoardHistory, since: float) -> BoardHistory | None:
    """Return the nights that started since a time; None if there are none.

    Args:
        history: all nights.
        since: seconds since 1970.
    """
    nights = [night for night in history.nights if night.started / 1000 >= since]
    changes = [change for change in history.changes if change.night.started / 1000 >= since]
    return BoardHistory(history.board, history.summary, nights, changes, history.link) if nights else None
