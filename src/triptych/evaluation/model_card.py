"""The model card: what to know before using a model, as Markdown that is stored with it."""

from __future__ import annotations

from triptych.data.boards import PreparedBoard
from triptych.evaluation.columns import build_rows
from triptych.evaluation.pairs import join_words
from triptych.evaluation.report import NAMED_CLASSES, EvaluatedPanel
from triptych.evaluation.statistics import wilson_interval
from triptych.system.text import escape_markdown

# The heading of the last and longest part.
SETTINGS = "## Settings"


def write_card(
    prepared: PreparedBoard, panel: EvaluatedPanel, weights_sha256: str, clustering: float = 1.0, origin: str = ""
) -> str:
    """Return the model card in Markdown (Mitchell et al., "Model Cards for Model Reporting", 2019).

    Args:
        prepared: the board that the model was trained and tested on.
        panel: the repeat that the model comes from, with its metrics.
        weights_sha256: SHA-256 of the model's files.
        clustering: the design effect of the groups of test images on the accuracy.
        origin: what the panel was trained in, as Markdown.
    """
    metrics = panel.metrics
    images, level = prepared.sizes["test"], prepared.config.evaluate.confidence_level
    low, high = wilson_interval(round(metrics["test_accuracy"] * images), images, level, clustering)
    measured = {
        "accuracy": f"{metrics['test_accuracy']:.4f} ({100 * level:g} % interval {low:.4f} - {high:.4f})",
        **build_rows([metrics], "card")[0],
    }
    classes = join_words([*map(escape_markdown, prepared.classes)], NAMED_CLASSES)
    settings = prepared.config.for_panel(panel.panel).flat()
    caveats = prepared.notes or ("none besides the sampling error, see the interval",)
    return "\n".join(
        [
            f"# {panel.label} on {prepared.config.name}",
            "",
            f"Maps raw images, (n, height, width, channels) uint8, to probabilities of: {classes}.",
            "",
            "## Data",
            "",
            f"- {escape_markdown(prepared.data_name)}, SHA-256 {prepared.data_digest}",
            f"- split {prepared.split_id}: " + ", ".join(f"{size} {part}" for part, size in prepared.sizes.items()),
            f"- test set {prepared.test_set_id}: a hash of its images and their classes",
            "",
            f"## Results on {images} test images",
            "",
            *(f"- {name}: {value}" for name, value in measured.items()),
            "",
            "## Intended use",
            "",
            "Images like those of the data set. For any other image it still predicts one of these classes.",
            "",
            "## Caveats",
            "",
            *(f"- {escape_markdown(caveat)}" for caveat in caveats),
            "",
            "## Provenance",
            "",
            f"- repeat {panel.repeat} of the panel, MLflow run {panel.run_id}" + (origin and f", {origin}"),
            f"- {round(metrics['parameters']):,} parameters; weights SHA-256 {weights_sha256}",
            "",
            SETTINGS,
            "",
            *(f"- {name}: {escape_markdown(str(value))}" for name, value in settings.items()),
            "",
        ]
    )
