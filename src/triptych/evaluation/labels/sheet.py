"""Pictures of suspected labels: a page of its own, and the section of a report."""

from __future__ import annotations

from typing import Any

from triptych.evaluation.environment import build_environment
from triptych.evaluation.labels.judge import JudgedLabels
from triptych.evaluation.page.pictures import embed_thumbnail

# Pictures of each kind on the page, in a report, and their longest side in pixels.
SHOWN, SHOWN_IN_REPORT, SHOWN_PIXELS = 200, 24, 128


def render_sheet(judged: JudgedLabels) -> str:
    """Return the page as HTML, without script and network access: the suspects, then the outliers."""
    found = {**judged.as_json(), "verdict": judged.verdict}
    for kind in ("suspects", "outliers"):
        found[kind] = [show_image(judged, row) for row in found[kind][:SHOWN]]
    more = {kind: len(getattr(judged, kind)) - len(found[kind]) for kind in ("suspects", "outliers")}
    return build_environment().get_template("labels.html").render(found=found, more=more)


def show_suspects(judged: JudgedLabels) -> dict[str, Any]:
    """Return what a report shows: the verdict, and the most certain suspects with pictures."""
    suspects = judged.as_json()["suspects"]
    shown = [show_image(judged, row) for row in suspects[:SHOWN_IN_REPORT]]
    return {"verdict": judged.verdict, "suspects": shown, "more": len(suspects) - len(shown)}


def show_image(judged: JudgedLabels, row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of `JudgedLabels.as_json` with a small picture of its image, as a `data:` address."""
    return {**row, "source": embed_thumbnail(judged.data.images, row["index"], SHOWN_PIXELS)}
