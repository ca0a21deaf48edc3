"""The report of a comparison as one self-contained HTML page: no network access, no other file.

Everything can be read without its script, which pages through images, filters, sorts and shows values.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from triptych.data.boards import BoardData
from triptych.evaluation.abstention.promise import COVERED_RATE, explain_no_promise
from triptych.evaluation.charts.classes import SHOWN_CLASSES
from triptych.evaluation.charts.colours import choose_colours
from triptych.evaluation.charts.panels import Curves
from triptych.evaluation.environment import build_environment
from triptych.evaluation.folds.words import build_fold_rows
from triptych.evaluation.page.classes import choose_rows, describe_classes, sum_confusions
from triptych.evaluation.page.drawings import draw_charts
from triptych.evaluation.page.embedding_map import describe_map, draw_map
from triptych.evaluation.page.matrices import Matrix, tabulate_confusions, tabulate_difference
from triptych.evaluation.page.mistakes import collect_mistakes, list_disagreements, list_mistakes
from triptych.evaluation.page.script import collect_script_data
from triptych.evaluation.pairs import build_pair_rows, join_words
from triptych.evaluation.predictions import Predictions
from triptych.evaluation.report import EvaluatedPanel, Report, keep_common_repeats
from triptych.transfer.discriminant import Features

# Pictures of mistakes, and those of the map, in bytes. Of a night that trained nothing new they are few: the page of
# the comparison that trained its panels has the same ones.
PICTURE_BYTES, MAP_BYTES = 2_000_000, 500_000
FEW_BYTES = 20_000
# Images of a kind that are shown without a script.
SHOWN_IMAGES = 6

Predicted = Mapping[str, Sequence[Predictions]]


@dataclass(frozen=True)
class Context:
    """What a page says beside the result of its comparison.

    Attributes:
        facts: where the result comes from, by name.
        champion: which model is the champion, and why.
        changes: what is different from the last comparison.
        more_images: what more training images would bring, as far as it was measured.
        labels: those that are probably wrong, as `show_suspects` returns them; None if they were not judged.
        features: (n, dimension) float32, of all images; None if there are too many for a map.
    """

    facts: Mapping[str, str]
    champion: str = ""
    changes: Sequence[str] = ()
    more_images: Sequence[str] = ()
    labels: Mapping[str, Any] | None = None
    features: Features | None = None


def render_page(
    data: BoardData,
    report: Report,
    panels: Sequence[EvaluatedPanel],
    predictions: Mapping[str, Predictions],
    curves: Mapping[str, Sequence[Curves]],
    context: Context,
) -> str:
    """Return the page as HTML.

    Args:
        data: the board; some of its test images are shown.
        report: the tables, the verdict and the caveats.
        panels: every repeat of every panel.
        predictions: of every test image, by run id.
        curves: for each label and repeat, the metrics of each epoch.
        context: what the page says beside the result.
    """
    ranked = [standing.label for standing in report.standings]
    # The sum of three repeats minus that of two would show the third.
    compared = keep_common_repeats(panels)
    of_label = {label: [panel for panel in compared if panel.label == label] for label in ranked}
    predicted = {label: [predictions[panel.run_id] for panel in of_label[label]] for label in ranked}
    first = {label: repeats[0] for label, repeats in predicted.items()}
    prepared = data.prepared
    chosen = choose_colours([*prepared.config.panels, *(panel.panel for panel in panels)])
    colours = {label: chosen[of_label[label][0].panel] for label in ranked}
    repeated = all(panel.shared for panel in panels)
    mistakes = collect_mistakes(data, first, FEW_BYTES if repeated else PICTURE_BYTES)
    classes = describe_classes(predicted, prepared.classes)
    mapped = _draw_map(data, first[ranked[0]], context, FEW_BYTES if repeated else MAP_BYTES)
    ordered = {label: curves[label] for label in ranked if label in curves}
    return render_template(
        "report.html",
        collect_script_data(prepared.classes, mistakes, classes, colours, ordered, mapped),
        report=report,
        context=context,
        colours=colours,
        pairs=build_pair_rows(report.pairs),
        folds=build_fold_rows(predicted),
        charts=draw_charts(data, report, compared, first, ordered, colours),
        matrices=_tabulate(predicted, prepared.classes),
        classes=prepared.classes,
        per_class=_build_class_rows(classes, ranked[0], prepared.classes),
        confused=_name_pairs(classes["confused"][ranked[0]], prepared.classes),
        mistakes=mistakes,
        repeated=repeated,
        shown=_choose_images(mistakes),
        mapped=mapped,
        map_text=describe_map(mapped) if mapped else "",
        settings=prepared.config.flat(),
        prepared=prepared,
        unanswered=_explain_unanswered(data, report),
    )


def _explain_unanswered(data: BoardData, report: Report) -> str:
    """Return why panels answer no test image with a promise; nothing if all of them answer some."""
    validation = data.split.validation
    groups = data.group_part(validation)
    drawn = len(validation if groups is None else np.unique(groups))
    silent = [one.label for one in report.standings if one.metrics.get("test_coverage_at_2_percent") == 0.0]
    reason = explain_no_promise(drawn, COVERED_RATE, grouped=groups is not None)
    return f"The promise cannot be made for {join_words(silent)}: {reason}." if silent else ""


def render_template(name: str, script_data: Mapping[str, Any], **values: Any) -> str:
    """Return a page with its style and script, of which the content policy allows no other.

    Args:
        name: of the template.
        script_data: what the script reads, JSON values.
        values: of the template.
    """
    environment = build_environment()
    script = environment.get_template("page.js").render().strip()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # A `<` could end the element.
    text = json.dumps(script_data, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    return environment.get_template(name).render(
        script=Markup(script),  # noqa: S704 - our own
        script_digest=digest,
        script_data=Markup(text),  # noqa: S704 - inert, and unable to end its element
        **values,
    )


def _draw_map(data: BoardData, tested: Predictions, context: Context, picture_bytes: int) -> dict[str, Any] | None:
    """Return the map of the embeddings; None where there are no features."""
    if context.features is None:
        return None
    suspects = [image["index"] for image in context.labels["suspects"]] if context.labels else []
    return draw_map(data, context.features, tested, frozenset(suspects), picture_bytes)


def _tabulate(predicted: Predicted, classes: Sequence[str]) -> list[Matrix]:
    """Return of few classes the confusion matrix of the best panel, and how that of the second differs from it."""
    if len(classes) > SHOWN_CLASSES:
        return []
    best, *others = predicted
    counts = {label: sum_confusions(predicted[label], len(classes)) for label in (best, *others[:1])}
    return [
        tabulate_confusions(counts[best], classes, best),
        *(tabulate_difference(counts[best], counts[label], classes, f"{best} minus {label}") for label in others[:1]),
    ]


def _name_pairs(confused: Sequence[tuple[int, int, int]], classes: Sequence[str]) -> list[tuple[str, str, int]]:
    """Return the pairs that are shown without the script, by the names of their classes."""
    return [(classes[given], classes[wrong], images) for given, wrong, images in confused[:SHOWN_CLASSES]]


def _build_class_rows(described: Mapping[str, Any], label: str, classes: Sequence[str]) -> list[dict[str, str]]:
    """Return the rows of the table of classes that is shown without the script."""
    measured, support = described["measured"][label], described["support"]
    return [
        {
            "class": classes[number],
            **{name: f"{values[number]:.3f}" for name, values in measured.items()},
            "test images": str(support[number]),
        }
        for number in choose_rows(described, label)
    ]


def _choose_images(mistakes: Mapping[str, Any]) -> list[tuple[str, int, list[int]]]:
    """Return the images that are shown without the script: a title, the number of all of its kind, and places."""
    compared = [place for place, panel in enumerate(mistakes["panels"]) if panel["compared"]]
    labels = [panel["label"] for panel in mistakes["panels"]]
    kinds = [
        (f"The most certain mistakes of {labels[place]}", list_mistakes(mistakes, place)) for place in compared[:1]
    ]
    if len(compared) > 1:
        first, second = compared[:2]
        title = f"{labels[first]} and {labels[second]}: only one of them is right"
        kinds.insert(0, (title, list_disagreements(mistakes, first, second)))
    return [(title, len(places), places[:SHOWN_IMAGES]) for title, places in kinds if places]
