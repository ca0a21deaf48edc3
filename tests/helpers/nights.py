"""Nights of a board, made up."""

from __future__ import annotations

from typing import Any

from triptych.evaluation.history.nights import FINISHED, Night, PanelNight

DAY = 86_400_000
IMAGES = 540


def make_panel(panel: str, correct: int, log_loss: float = 0.2) -> PanelNight:
    accuracy = correct / IMAGES
    return PanelNight(panel, panel, accuracy, accuracy - 0.02, accuracy + 0.02, log_loss, 1.5, IMAGES, IMAGES)


def make_night(day: int, *correct: int, **more: Any) -> Night:
    """Return the night of a day in 2026, in which the panels `panel-0`, ... have so many correct images."""
    panels = tuple(make_panel(f"panel-{place}", one, 0.2 + day / 1e4) for place, one in enumerate(correct))
    images = {"train": 1005, "validation": 252, "test": IMAGES}
    status = FINISHED if panels else "killed"
    comparison, started = f"night-{day:03}", 1_767_312_000_000 + day * DAY
    fields: dict[str, Any] = {
        "comparison": comparison,
        "started": started,
        "status": status,
        "panels": panels,
        "images": images,
        "data": "one",
        "test_set": "one",
        **more,
    }
    return Night(**fields)


def make_nights(rate: float = 0.95, nights: int = 12) -> list[Night]:
    """Return nights with two panels, whose accuracies go up and down by half a point about a rate."""
    middle = round(IMAGES * rate)
    return [make_night(day, *(middle + day * step % 7 - 3 for step in (3, 5))) for day in range(nights)]
