"""The result of a comparison in a table and in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Any

from triptych.config.names import NUMPY_MLP, TORCH_MLP
from triptych.data.boards import PreparedBoard
from triptych.evaluation.pairs import Pair, compare_pairs, decide
from triptych.evaluation.predictions import Predictions
from triptych.evaluation.statistics import wilson_interval
from triptych.panels.twins import explain_twins


@dataclass(frozen=True)
class EvaluatedPanel:
    """One repeat of a panel with its final metrics.

    Attributes:
        panel: the panel's name.
        label: the panel's name for people.
        repeat: which training of the panel.
        run_id: MLflow's run id.
        metrics: the final metrics by MLflow's name.
        restored_epochs: how many epochs came from an earlier training that was the same so far.
        model_uri: where MLflow keeps the model.
    """

    panel: str
    label: str
    repeat: int
    run_id: str
    metrics: dict[str, float]
    restored_epochs: int = 0
    model_uri: str = ""


@dataclass(frozen=True)
class MissingPanel:
    """A repeat of a panel that could not be trained or evaluated.

    Attributes:
        label: the panel's name for people, with the repeat where there are several.
        reason: why it is missing.
        bad_input: whether the user's input was the reason.
    """

    label: str
    reason: str
    bad_input: bool = False


@dataclass(frozen=True)
class Standing:
    """A panel's line of the table, over all its repeats.

    Attributes:
        label: the panel's name for people.
        repeats: number of trainings.
        test_accuracy: mean over the repeats.
        standard_deviation: of the accuracies of the repeats (n - 1 in the denominator); None for a single one.
        low: lower bound of Wilson's interval (sampling error, no spread of repeats), of the mean accuracy.
        high: upper bound.
        test_macro_f1: mean over the repeats.
        test_log_loss: mean over the repeats.
        test_ece: mean over the repeats.
        fit_seconds: mean over the repeats.
        embed_seconds: seconds of finding or computing the embeddings; None without a frozen network.
        predict_images_per_second: mean over the repeats.
        parameters: of the network.
    """

    label: str
    repeats: int
    test_accuracy: float
    standard_deviation: float | None
    low: float
    high: float
    test_macro_f1: float
    test_log_loss: float
    test_ece: float
    fit_seconds: float
    embed_seconds: float | None
    predict_images_per_second: float
    parameters: int


@dataclass(frozen=True)
class Report:
    """What a comparison found.

    Attributes:
        board: the board's name.
        test_images: size of the test part.
        standings: the panels, best first.
        pairs: every two panels, compared image by image.
        verdict: the result in one sentence.
        caveats: what a reader must know before believing it.
        missing: what could not be compared.
    """

    board: str
    test_images: int
    standings: tuple[Standing, ...]
    pairs: tuple[Pair, ...]
    verdict: str
    caveats: tuple[str, ...]
    missing: tuple[MissingPanel, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return asdict(self)

    def as_rows(self) -> list[dict[str, str]]:
        """Return the table as text, a dictionary a line."""
        return [describe_standing(standing) for standing in self.standings]

    def as_markdown(self) -> str:
        """Return everything as Markdown."""
        tables = [self.as_rows(), [pair.as_row() for pair in self.pairs]]
        text = "\n\n".join(_format_table(rows) for rows in tables if rows)
        return "\n".join([self.verdict, "", text, "", *(f"- {caveat}" for caveat in self.caveats)])


@dataclass(frozen=True)
class ComparisonResult:
    """What `compare` returns for a board.

    Attributes:
        comparison: its id, the tag of all its runs.
        link: MLflow's page with its charts.
        report: the table and the verdict.
        promotion: who is the board's champion, and why.
    """

    comparison: str
    link: str
    report: Report
    promotion: str = ""


def describe_standing(standing: Standing) -> dict[str, str]:
    """Return a panel's line of the table as text, by column."""
    return {
        "panel": standing.label,
        "accuracy": f"{standing.test_accuracy:.4f}",
        "interval": f"{standing.low:.4f} - {standing.high:.4f}",
        "repeats": str(standing.repeats),
        "std": "-" if standing.standard_deviation is None else f"{standing.standard_deviation:.4f}",
        "macro F1": f"{standing.test_macro_f1:.4f}",
        "log loss": f"{standing.test_log_loss:.4f}",
        "ECE": f"{standing.test_ece:.4f}",
        "fit s": f"{standing.fit_seconds:.2f}",
        "embed s": "-" if standing.embed_seconds is None else f"{standing.embed_seconds:.2f}",
        "images/s": f"{standing.predict_images_per_second:,.0f}",
        "parameters": f"{standing.parameters:,}",
    }


def _format_table(rows: Sequence[Mapping[str, str]]) -> str:
    head = [_join_cells(rows[0]), "|---|" + "---:|" * (len(rows[0]) - 1)]
    return "\n".join([*head, *(_join_cells(row.values()) for row in rows)])


def _join_cells(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def write_report(
    prepared: PreparedBoard,
    panels: Sequence[EvaluatedPanel],
    predictions: Mapping[str, Predictions],
    drifts: Sequence[Sequence[float]] = (),
    missing: Sequence[MissingPanel] = (),
) -> Report:
    """Return the table, best panel first, the verdict and the caveats of a comparison.

    Args:
        prepared: the board.
        panels: every repeat of every panel.
        predictions: of every test image, by run id.
        drifts: for each repeat how far the weights of the twins were apart after every epoch.
        missing: the repeats that could not be trained or evaluated.
    """
    labels = dict.fromkeys(panel.label for panel in panels)
    standings = [_rank(prepared, [panel for panel in panels if panel.label == label]) for label in labels]
    standings.sort(key=lambda standing: -standing.test_accuracy)
    correct = {
        label: {panel.repeat: predictions[panel.run_id].correct for panel in panels if panel.label == label}
        for label in labels
    }
    level = prepared.config.evaluate.confidence_level
    pairs = compare_pairs(correct, [standing.label for standing in standings], level)
    best = standings[0]
    return Report(
        board=prepared.config.name,
        test_images=prepared.sizes["test"],
        standings=tuple(standings),
        pairs=pairs,
        verdict=decide(best.label, best.test_accuracy, pairs, prepared.sizes["test"], level),
        caveats=(
            *(f"missing: {panel.label} ({panel.reason})" for panel in missing),
            *prepared.notes,
            *explain_board(prepared),
            *explain_drifts(drifts),
            *explain_restored(panels),
        ),
        missing=tuple(missing),
    )


def _rank(prepared: PreparedBoard, repeats: Sequence[EvaluatedPanel]) -> Standing:
    def mean(name: str) -> float:
        return fmean(panel.metrics[name] for panel in repeats)

    accuracies = [panel.metrics["test_accuracy"] for panel in repeats]
    images = prepared.sizes["test"]
    accuracy = fmean(accuracies)
    low, high = wilson_interval(round(accuracy * images), images, prepared.config.evaluate.confidence_level)
    return Standing(
        label=repeats[0].label,
        repeats=len(repeats),
        test_accuracy=accuracy,
        standard_deviation=stdev(accuracies) if len(accuracies) > 1 else None,
        low=low,
        high=high,
        test_macro_f1=mean("test_macro_f1"),
        test_log_loss=mean("test_log_loss"),
        test_ece=mean("test_ece"),
        fit_seconds=mean("fit_seconds"),
        embed_seconds=mean("embed_seconds") if "embed_seconds" in repeats[0].metrics else None,
        predict_images_per_second=mean("predict_images_per_second"),
        parameters=round(mean("parameters")),
    )


def explain_board(prepared: PreparedBoard) -> list[str]:
    """Return what the settings of a board mean for its result."""
    config = prepared.config
    caveats = []
    if not prepared.sizes["validation"]:
        caveats.append("the validation part is empty: nothing was chosen, and every panel trained on all of train")
    if config.backbone_panels and config.transfer.weights == "random":
        caveats.append("the backbones have random weights: an ablation, not transfer learning")
    if config.backbone_panels and config.transfer.head == "lbfgs" and config.repeats > 1:
        caveats.append(
            "last layers that are solved for (lbfgs) are the same in every repeat: no spread of theirs is seen"
        )
    if len(config.panels) > 1:
        caveats.append("seconds are wall time while panels ran side by side; embeddings found in the store cost none")
    if {NUMPY_MLP, TORCH_MLP} <= set(config.panels):
        caveats += explain_twins(config)
    return caveats


def explain_drifts(drifts: Sequence[Sequence[float]]) -> list[str]:
    """Return how far the twins ended apart; nothing where no twins were compared."""
    ends = [drift[-1] for drift in drifts if drift]
    if not ends:
        return []
    return [
        f"{NUMPY_MLP} and {TORCH_MLP} are twins: after the last epoch no weight differs by more than {max(ends):.1e}"
    ]


def explain_restored(panels: Sequence[EvaluatedPanel]) -> list[str]:
    """Return which panels were not trained from the start now."""
    restored = [panel for panel in panels if panel.restored_epochs]
    if not restored:
        return []
    epochs = ", ".join(f"{panel.label} #{panel.repeat} {panel.restored_epochs} epochs" for panel in restored)
    return [f"taken from an earlier, identical training: {epochs}; --fresh trains anew"]
