"""The figure of accuracy against coverage."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

from triptych.evaluation.abstention.promise import trace_risk
from triptych.evaluation.figures.style import escape_text, finish
from triptych.evaluation.predictions import Predictions

RISK_CAPTION = (
    "Accuracy of the most confident answers against their share, first repeat; "
    "without panels that are less than half as accurate as the best"
)
# Points of a line, of which more would make the page large.
POINTS = 200
# The few most confident images say little: a single error among ten would rule the axis.
LEAST_COVERAGE = 0.05
# A panel that is not at least so many times as accurate as the best would flatten the others.
LEAST_ACCURACY = 0.5


def draw_risk(predictions: Mapping[str, Predictions], colours: Mapping[str, str]) -> Figure:
    """Return a figure of the accuracy of each panel when it answers only the share of which it is most confident.

    Panels that are less than half as accurate as the best are left out.

    Args:
        predictions: of every test image, by label.
        colours: the colour of each label.
    """
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    best = max(one.correct.mean() for one in predictions.values())
    shown = {label: one for label, one in predictions.items() if one.correct.mean() >= LEAST_ACCURACY * best}
    for label, one in shown.items():
        coverage, accuracy = trace_risk(one.confidence, one.correct)
        every = max(1, len(coverage) // POINTS)
        # From the end, so that the accuracy on all images is on the line.
        points = [part[::-1][::every][::-1] for part in (coverage, accuracy)]
        kept = points[0] >= LEAST_COVERAGE
        # Where all images are equally confident, there is one point.
        marker = None if kept.sum() > 1 else "o"
        axes.plot(points[0][kept], points[1][kept], marker=marker, color=colours[label], label=escape_text(label))
    axes.set(
        xlabel="coverage: share of test images that are answered", ylabel="accuracy of the answers", xlim=(0, 1.02)
    )
    finish(axes)
    return figure
