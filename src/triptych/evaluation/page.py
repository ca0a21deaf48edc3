"""The report of a comparison as one self-contained HTML page: no script, no network access, no other file."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import permutations
from math import nan
from typing import Any
from urllib.parse import quote

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from triptych.data.boards import BoardData
from triptych.evaluation.calibration import bin_confidences
from triptych.evaluation.environment import build_environment
from triptych.evaluation.figures.classes import SHOWN_CLASSES, draw_classes, draw_confusions, draw_difference
from triptych.evaluation.figures.matrices import Matrix, tabulate_confusions, tabulate_difference
from triptych.evaluation.figures.panels import Curves, draw_costs, draw_curves, draw_reliability
from triptych.evaluation.figures.risk import RISK_CAPTION, draw_risk
from triptych.evaluation.figures.style import choose_colours
from triptych.evaluation.figures.thumbnails import embed_thumbnail
from triptych.evaluation.folds.words import build_fold_rows
from triptych.evaluation.metrics import Confusions, count_confusions, measure_classes
from triptych.evaluation.pairs import build_pair_rows
from triptych.evaluation.predictions import Predictions
from triptych.evaluation.report import EvaluatedPanel, Report

# For each pair of panels, the images shown that only one of them classifies correctly; their longest side in pixels.
SHOWN_IMAGES, SHOWN_PIXELS = 6, 96
# The best panels, between which disagreements are shown.
SHOWN_PANELS = 3

# Text as text instead of the outlines of its letters. Verdana is as wide as DejaVu Sans, which matplotlib measures.
SMALL: Any = {"svg.fonttype": "none", "font.sans-serif": ["DejaVu Sans", "Verdana"]}
# What may stay as it is in the address of a figure.
UNQUOTED = " =:/;,()+-.?@!*"

Picture = dict[str, str]


def render_page(
    data: BoardData,
    report: Report,
    panels: Sequence[EvaluatedPanel],
    predictions: Mapping[str, Predictions],
    curves: Mapping[str, Sequence[Curves]],
    facts: Mapping[str, str],
    more_images: Sequence[str] = (),
    labels: Mapping[str, Any] | None = None,
) -> str:
    """Return the page as HTML.

    Args:
        data: the board; some of its test images are shown.
        report: the tables, the verdict and the caveats.
        panels: every repeat of every panel.
        predictions: of every test image, by run id.
        curves: for each label and repeat, the metrics of each epoch.
        facts: the provenance of the results: versions, hashes, links.
        more_images: what more training images would bring, as far as it was measured.
        labels: those that are probably wrong, as `show_suspects` returns them; None if they were not judged.
    """
    ranked = [standing.label for standing in report.standings]
    of_label = {label: [panel for panel in panels if panel.label == label] for label in ranked}
    predicted = {label: [predictions[panel.run_id] for panel in of_label[label]] for label in ranked}
    prepared = data.prepared
    chosen = choose_colours([*prepared.config.panels, *(panel.panel for panel in panels)])
    return (
        build_environment()
        .get_template("report.html")
        .render(
            report=report,
            more_images=more_images,
            labels=labels,
            pairs=build_pair_rows(report.pairs),
            folds=build_fold_rows(predicted),
            figures=_draw_figures(data, report, predicted, curves, {one.label: chosen[one.panel] for one in panels}),
            **_show_confusions(predicted, prepared.classes),
            costs=report.as_rows("costs"),
            calibration=report.as_rows("calibration"),
            disagreements=_find_disagreements(data, {label: predicted[label][0] for label in ranked[:SHOWN_PANELS]}),
            facts={
                "data": prepared.data_name,
                "data, SHA-256": prepared.data_digest,
                "split": prepared.split_id,
                "test set": prepared.test_set_id,
                **{f"{part} images": str(size) for part, size in prepared.sizes.items()},
                **facts,
            },
            settings=prepared.config.flat(),
        )
    )


def _draw_figures(
    data: BoardData,
    report: Report,
    predicted: Mapping[str, Sequence[Predictions]],
    curves: Mapping[str, Sequence[Curves]],
    colours: Mapping[str, str],
) -> dict[str, Picture]:
    classes = data.prepared.classes
    bins = data.prepared.config.evaluate.calibration_bins
    first = {label: repeats[0] for label, repeats in predicted.items()}
    recalls = {
        label: [
            row["recall"] if row["images"] else nan for row in measure_classes(one.labels, one.predicted, len(classes))
        ]
        for label, one in first.items()
    }
    reliable = {label: bin_confidences(one.confidence, one.correct, bins) for label, one in first.items()}
    ranked_curves = {label: curves[label] for label in predicted if label in curves}
    drawn = {
        "curves": (draw_curves(ranked_curves, colours), "Loss and accuracy by epoch; bands: range over the repeats"),
        "costs": (
            draw_costs(_find_costs(report), colours),
            "Test accuracy and its interval against training time",
        ),
        "classes": (draw_classes(recalls, classes, colours), "Recall by class, first repeat"),
        "reliability": (draw_reliability(reliable, colours), "Reliability diagram, first repeat"),
        "risk": (draw_risk(first, colours), RISK_CAPTION),
    }
    return {name: embed_figure(*figure) for name, figure in drawn.items()}


def _find_costs(report: Report) -> dict[str, tuple[float, float, float, float]]:
    """Return for each label the seconds of embedding and fitting, and the accuracy with the bounds of its interval."""
    return {
        standing.label: (
            standing.metrics["fit_seconds"] + standing.metrics.get("embed_seconds", 0.0),
            standing.test_accuracy,
            standing.low,
            standing.high,
        )
        for standing in report.standings
    }


def _show_confusions(predicted: Mapping[str, Sequence[Predictions]], classes: Sequence[str]) -> dict[str, Any]:
    """Return the confusion matrices of few classes, or figures of the pairs that matter most of many."""
    counts = {label: _sum_confusions(repeats, len(classes)) for label, repeats in predicted.items()}
    few = len(classes) <= SHOWN_CLASSES
    return {
        "matrices": _tabulate_all(counts, classes) if few else (),
        "pairs_of_classes": () if few else _draw_all_pairs(counts, classes),
    }


def _tabulate_all(counts: Mapping[str, Confusions], classes: Sequence[str]) -> list[Matrix]:
    """Return the confusion matrix of each label, and by how much that of the best differs from the others."""
    best, *others = counts
    matrices = [tabulate_confusions(matrix, classes, label) for label, matrix in counts.items()]
    differences = [
        tabulate_difference(counts[best], counts[label], classes, f"{best} minus {label}") for label in others
    ]
    return matrices + differences


def _draw_all_pairs(counts: Mapping[str, Confusions], classes: Sequence[str]) -> list[Picture]:
    """Return of many classes the pairs that each label confuses most, and those in which the best differs most."""
    best, *others = counts
    confused = [
        embed_figure(draw_confusions(matrix, classes, label), f"Most confused pairs of classes of {label}")
        for label, matrix in counts.items()
    ]
    titles = {label: f"{best} minus {label}" for label in others}
    differing = [
        embed_figure(draw_difference(counts[best], counts[label], classes, title), f"Difference of confusions, {title}")
        for label, title in titles.items()
    ]
    return confused + differing


def _sum_confusions(repeats: Sequence[Predictions], classes: int) -> Confusions:
    return sum(count_confusions(one.labels, one.predicted, classes) for one in repeats)


def embed_figure(figure: Figure, description: str) -> Picture:
    """Return a figure as the page embeds it: as small as it gets, because every night stores one page."""
    file = io.StringIO()
    with mpl.rc_context(SMALL):
        figure.savefig(file, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    # The document type in front names an address, which no reader needs.
    drawing = file.getvalue()[file.getvalue().index("<svg") :]
    source = f"data:image/svg+xml,{quote(' '.join(drawing.split()), safe=UNQUOTED)}"
    return {"source": source, "description": description}


def _find_disagreements(data: BoardData, predicted: Mapping[str, Predictions]) -> list[dict[str, Any]]:
    """Return for each ordered pair of panels some test images that only the first one classifies correctly."""
    found = []
    for right, wrong in permutations(predicted, 2):
        only = np.flatnonzero(predicted[right].correct & ~predicted[wrong].correct)
        shown = [_describe_image(data, predicted[wrong], int(row)) for row in only[:SHOWN_IMAGES]]
        if shown:
            found.append({"right": right, "wrong": wrong, "count": len(only), "images": shown})
    return found


def _describe_image(data: BoardData, predictions: Predictions, row: int) -> dict[str, Any]:
    index = int(predictions.indices[row])
    classes = data.prepared.classes
    return {
        "index": index,
        "source": embed_thumbnail(data.images, index, SHOWN_PIXELS),
        "truth": classes[int(predictions.labels[row])],
        "predicted": classes[int(predictions.predicted[row])],
    }
