"""What a person must know before using a model, as Markdown that travels with it."""

from __future__ import annotations

from triptych.data.boards import PreparedBoard
from triptych.evaluation.report import EvaluatedPanel
from triptych.evaluation.statistics import wilson_interval


def write_card(prepared: PreparedBoard, panel: EvaluatedPanel, weights_sha256: str) -> str:
    """Return the model card (Mitchell et al., "Model Cards for Model Reporting", 2019).

    Args:
        prepared: what it was trained and tested on.
        panel: the training and its metrics.
        weights_sha256: of the files of the model.
    """
    metrics = panel.metrics
    images, level = prepared.sizes["test"], prepared.config.evaluate.confidence_level
    low, high = wilson_interval(round(metrics["test_accuracy"] * images), images, level)
    measured = {
        "accuracy": f"{metrics['test_accuracy']:.4f} ({100 * level:g} % interval {low:.4f} - {high:.4f})",
        **{
            name.removeprefix("test_").replace("_", " "): f"{metrics[name]:.4f}"
            for name in ("test_macro_f1", "test_log_loss", "test_brier", "test_ece")
        },
    }
    caveats = prepared.notes or ("none beyond the interval",)
    return "\n".join(
        [
            f"# {panel.label} on {prepared.config.name}",
            "",
            "Turns raw images (n, height, width, channels), uint8, into probabilities of: "
            f"{', '.join(prepared.classes)}.",
            "",
            "## Data",
            "",
            f"- {prepared.data_name}, SHA-256 {prepared.data_digest}",
            f"- split {prepared.split_id}: " + ", ".join(f"{size} {part}" for part, size in prepared.sizes.items()),
            "",
            f"## Results on {images} test images",
            "",
            *(f"- {name}: {value}" for name, value in measured.items()),
            "",
            "## Intended use",
            "",
            "Images like those of the data set. On any other it still names one of the classes, whatever it sees.",
            "",
            "## Caveats",
            "",
            *(f"- {caveat}" for caveat in caveats),
            "",
            "## Provenance",
            "",
            f"- training {panel.repeat} of the panel, MLflow run {panel.run_id}",
            f"- {round(metrics['parameters']):,} parameters; weights SHA-256 {weights_sha256}",
            "",
            "## Settings",
            "",
            *(f"- {name}: {value}" for name, value in prepared.config.for_panel(panel.panel).flat().items()),
            "",
        ]
    )
