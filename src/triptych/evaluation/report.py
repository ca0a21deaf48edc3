"""The report of a comparison: the ranking, the pairwise differences, the verdict and the caveats."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Any, NamedTuple

import numpy as np

from triptych.config.names import NUMPY_MLP, RANDOM, TORCH_MLP
from triptych.config.schema import BoardConfig
from triptych.data.boards import PreparedBoard
from triptych.evaluation.columns import RESTORED, Table, build_rows
from triptych.evaluation.folds.words import collect_folds, describe_tested, explain_folds, find_design_effect
from triptych.evaluation.pairs import Pair, build_pair_rows, compare_pairs, decide, explain_luck, join_words
from triptych.evaluation.predictions import Predictions
from triptych.evaluation.statistics import Correct, Groups, wilson_interval
from triptych.panels.kinds import find_kind
from triptych.panels.twins import explain_twins
from triptych.system.text import escape_markdown

# Classes that a sentence names; it counts the others.
NAMED_CLASSES = 20
# How reports name the average of all panels.
ENSEMBLE = "ensemble"
# The tables that show it.
RANKINGS: tuple[Table, ...] = ("ranking", "terminal")


@dataclass(frozen=True)
class EvaluatedPanel:
    """One repeat of a panel with its final metrics.

    Attributes:
        panel: the panel's name.
        label: the panel's name as reports show it.
        repeat: number of the repeat, from 0.
        run_id: MLflow's run id.
        metrics: the final metrics by MLflow's name.
        restored_epochs: epochs restored from an earlier, identical training.
        model_uri: MLflow's address of the model.
        shared: whether an earlier comparison trained it, whose run this one shares.
    """

    panel: str
    label: str
    repeat: int
    run_id: str
    metrics: dict[str, float]
    restored_epochs: int = 0
    model_uri: str = ""
    shared: bool = False

    def name_training(self, config: BoardConfig) -> str:
        """Return the panel's label, with the number of the training if there are several."""
        return f"training #{self.repeat} of {self.label}" if config.repeats > 1 else self.label


@dataclass(frozen=True)
class MissingPanel:
    """A repeat of a panel that could not be trained or evaluated.

    Attributes:
        label: the panel's name as reports show it, with the repeat where there are several.
        reason: why it is missing.
        bad_input: whether the user's input was the reason.
    """

    label: str
    reason: str
    bad_input: bool = False


class Found(NamedTuple):
    """What a check has to say about a model, or about its data.

    Attributes:
        cause: what was found; panels with the same cause share a line.
        remedy: what can be done about it.
        panel: the label of the model; empty where it is about the data or the comparison.
        detail: the figures of this panel.
        setting: the field that the remedy changes for this panel, with its value.
    """

    cause: str
    remedy: str
    panel: str = ""
    detail: str = ""
    setting: str = ""


class Finding(NamedTuple):
    """What was found, with the code of its check, such as T003."""

    code: str
    found: Found


@dataclass(frozen=True)
class Standing:
    """A panel's place in the ranking, over all its repeats.

    Attributes:
        label: the panel's name as reports show it.
        repeats: number of repeats.
        standard_deviation: of the accuracy over the repeats (n - 1 in the denominator); None for a single repeat.
        low: lower bound of Wilson's interval of the mean accuracy: sampling error, without the spread of the repeats.
        high: upper bound.
        metrics: mean of each metric over the repeats, by MLflow's name.
        restored: whether a repeat was restored from an earlier training, so that times are from there.
        shared: whether that was in an earlier comparison, so that the embedding time is from there, too.
    """

    label: str
    repeats: int
    standard_deviation: float | None
    low: float
    high: float
    metrics: dict[str, float]
    restored: bool = False
    shared: bool = False

    @property
    def test_accuracy(self) -> float:
        """Mean test accuracy over the repeats."""
        return self.metrics["test_accuracy"]

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON values, the metrics beside the other fields."""
        fields = asdict(self)
        # Reports of earlier versions hold null where a panel embeds nothing, and their readers expect the key.
        return {"embed_seconds": None, **fields.pop("metrics"), **fields}


@dataclass(frozen=True)
class Ensemble:
    """The averaged probabilities of a board's panels, which stand beside the ranking and never win.

    Attributes:
        standing: what the ranking shows of them.
        weights: of each panel by its label, means over the repeats.
        rival: the label of the panel that is best on the validation set.
        pair: the ensemble and that panel, compared on the test set.
        text: the result in a sentence or two.
    """

    standing: Standing
    weights: dict[str, float]
    rival: str
    pair: Pair
    text: str

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON values, what the ranking shows beside the other fields."""
        fields = asdict(self)
        del fields["standing"]
        return {**self.standing.as_json(), **fields}


@dataclass(frozen=True)
class Report:
    """What a comparison found.

    Attributes:
        board: the board's name.
        test_images: size of the test set.
        standings: the panels, best first.
        pairs: every pair of panels, compared image by image.
        verdict: the result in one sentence.
        caveats: what limits the result.
        missing: repeats that could not be compared.
        findings: what the checks of the models found.
        folds: number of folds of a cross-validation, which tests all images; 0 for one test set.
        ensemble: the panels' averaged probabilities; None where there is nothing to average.
    """

    board: str
    test_images: int
    standings: tuple[Standing, ...]
    pairs: tuple[Pair, ...]
    verdict: str
    caveats: tuple[str, ...]
    missing: tuple[MissingPanel, ...] = ()
    findings: tuple[Finding, ...] = ()
    folds: int = 0
    ensemble: Ensemble | None = None

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        findings = [line for finding in self.findings for line in group_by_cause([finding])]
        standings = [standing.as_json() for standing in self.standings]
        ensemble = self.ensemble.as_json() if self.ensemble else None
        return {**asdict(self), "standings": standings, "findings": findings, "ensemble": ensemble}

    def as_rows(self, table: Table = "ranking") -> list[dict[str, str]]:
        """Return a table of the panels as text: a dictionary from heading to cell for each panel, best first.

        The last row of a ranking is the ensemble, if there is one.
        """
        shown = [*self.standings, *([self.ensemble.standing] if self.ensemble and table in RANKINGS else [])]
        marks = [{"mark": RESTORED * one.restored, "shared_mark": RESTORED * one.shared} for one in shown]
        values = [one.as_json() | mark for one, mark in zip(shown, marks, strict=True)]
        return build_rows([{name: v for name, v in one.items() if v is not None} for one in values], table)

    def list_findings(self) -> list[str]:
        """Return a line for each cause."""
        return group_by_cause(self.findings)

    def as_markdown(self) -> str:
        """Return everything as Markdown."""
        ranking = [row | {"panel": f"*{ENSEMBLE}*"} if row["panel"] == ENSEMBLE else row for row in self.as_rows()]
        tables = [ranking, build_pair_rows(self.pairs)]
        text = "\n\n".join(_format_table(rows) for rows in tables if rows)
        lines = [f"- {escape_markdown(line)}" for line in (*self.caveats, *self.list_findings())]
        said = [self.verdict, *([self.ensemble.text] if self.ensemble else [])]
        return "\n".join(["\n\n".join(said), "", text, "", *lines])


@dataclass(frozen=True)
class ComparisonResult:
    """What `compare` returns for a board.

    Attributes:
        comparison: the comparison's id, a tag of all its runs.
        link: address of MLflow's page with its charts.
        report: the tables, the verdict and the caveats.
        promotion: the board's champion, and why.
        awaiting: the version that waits for approval to become champion, as NAME/VERSION; empty if none does.
        state: what became of the best panel: "new", "same", "refused" or "waiting"; empty if nothing was registered.
        models: the registered versions of the panels, as NAME/VERSION.
    """

    comparison: str
    link: str
    report: Report
    promotion: str = ""
    awaiting: str = ""
    state: str = ""
    models: tuple[str, ...] = ()


def group_by_cause(findings: Iterable[Finding]) -> list[str]:
    """Return a line for each cause, with the panels that have it and what can be done.

    >>> group_by_cause([Finding("T003", Found("still improving", "train longer", name, "-2 %")) for name in ("a", "b")])
    ['T003 still improving: a (-2 %), b (-2 %); train longer']
    """
    causes: dict[tuple[str, str, str], list[Found]] = {}
    for code, found in findings:
        causes.setdefault((code, found.cause, found.remedy), []).append(found)
    lines = []
    for (code, cause, remedy), alike in causes.items():
        panels = ", ".join(f"{one.panel} ({one.detail})" for one in alike if one.panel)
        settings = ", ".join(dict.fromkeys(one.setting for one in alike if one.setting))
        lines.append(f"{code} {cause}{': ' * bool(panels)}{panels}; {remedy}{f' ({settings})' if settings else ''}")
    return lines


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
    groups: Groups | None = None,
) -> Report:
    """Return the report of a comparison.

    Args:
        prepared: the board.
        panels: every repeat of every panel.
        predictions: of every test image, by run id.
        drifts: for each repeat, the largest difference between the weights of the twins after each epoch.
        missing: the repeats that could not be trained or evaluated.
        groups: (n,) int64, the group of each test image by `split.group_by`; None if every image stands alone.
    """
    compared = keep_common_repeats(panels)
    correct: dict[str, dict[int, Correct]] = {}
    for panel in compared:
        correct.setdefault(panel.label, {})[panel.repeat] = predictions[panel.run_id].correct
    folds = collect_folds([panel.repeat for panel in compared], [predictions[panel.run_id] for panel in compared])
    standings = [
        rank_panel(
            prepared,
            [panel for panel in compared if panel.label == label],
            find_design_effect(correct[label], groups, folds),
        )
        for label in correct
    ]
    standings.sort(key=lambda standing: -standing.test_accuracy)
    level = prepared.config.evaluate.confidence_level
    pairs = compare_pairs(correct, [standing.label for standing in standings], level, groups, folds)
    best, tested = standings[0], describe_tested(prepared)
    return Report(
        board=prepared.config.name,
        test_images=prepared.sizes["test"],
        standings=tuple(standings),
        pairs=pairs,
        verdict=decide(best.label, best.test_accuracy, pairs, tested, level) + name_missing(missing),
        caveats=(
            *(f"missing: {panel.label} ({panel.reason})" for panel in missing),
            *explain_repeats(panels, compared),
            *explain_data(prepared, predictions[panels[0].run_id]),
            *explain_board(prepared),
            *explain_luck(best.label, pairs),
            *explain_drifts(drifts),
            *explain_restored(panels),
        ),
        missing=tuple(missing),
        folds=prepared.config.split.folds,
    )


def keep_common_repeats(panels: Sequence[EvaluatedPanel]) -> list[EvaluatedPanel]:
    """Return the repeats that every panel has, or all of them if there are none: only these are compared fairly."""
    repeats = [{panel.repeat for panel in panels if panel.label == label} for label in {one.label for one in panels}]
    common = set.intersection(*repeats)
    return [panel for panel in panels if panel.repeat in common or not common]


def rank_panel(prepared: PreparedBoard, repeats: Sequence[EvaluatedPanel], clustering: float) -> Standing:
    """Return what a ranking shows of a panel, over its repeats.

    Args:
        prepared: the board.
        repeats: of the panel.
        clustering: how many times larger groups and folds make the variance of its accuracy.
    """
    metrics = _average_metrics(repeats)
    accuracies = [panel.metrics["test_accuracy"] for panel in repeats]
    images = prepared.sizes["test"]
    right = round(metrics["test_accuracy"] * images)
    low, high = wilson_interval(right, images, prepared.config.evaluate.confidence_level, clustering)
    return Standing(
        label=repeats[0].label,
        repeats=len(repeats),
        standard_deviation=stdev(accuracies) if len(accuracies) > 1 else None,
        low=low,
        high=high,
        metrics=metrics,
        restored=any(panel.restored_epochs for panel in repeats),
        shared=any(panel.shared for panel in repeats),
    )


def _average_metrics(repeats: Sequence[EvaluatedPanel]) -> dict[str, float]:
    """Return the mean of each metric over the repeats that have it; the number of parameters stays an integer."""
    names = dict.fromkeys(name for panel in repeats for name in panel.metrics)
    means = {name: fmean(panel.metrics[name] for panel in repeats if name in panel.metrics) for name in names}
    return means | {name: round(means[name]) for name in ("parameters",) if name in means}


def name_missing(missing: Sequence[MissingPanel]) -> str:
    """Return the sentence of the verdict that names what could not be compared; nothing if all panels were.

    >>> name_missing([MissingPanel("vgg16 #0", "no weights"), MissingPanel("vgg16 #1", "no weights")])
    ' The comparison is incomplete, without vgg16 #0 and vgg16 #1.'
    """
    labels = [panel.label for panel in missing]
    return f" The comparison is incomplete, without {join_words(labels)}." if labels else ""


def explain_repeats(panels: Sequence[EvaluatedPanel], compared: Sequence[EvaluatedPanel]) -> list[str]:
    """Return which repeats are left out because a panel lacks them."""
    left_out = [f"{panel.label} #{panel.repeat}" for panel in panels if panel not in compared]
    return [f"only repeats that every panel has are compared, without {join_words(left_out)}"] if left_out else []


def explain_data(prepared: PreparedBoard, predictions: Predictions) -> list[str]:
    """Return what is to be known about the data: their notes, how they are divided, and classes that are not tested."""
    return [*prepared.notes, *explain_folds(prepared), *explain_absent(prepared, predictions)]


def explain_absent(prepared: PreparedBoard, predictions: Predictions) -> list[str]:
    """Return which classes have no test image, so that nothing is known about them."""
    numbers = np.setdiff1d(np.arange(len(prepared.classes)), predictions.labels).tolist()
    absent = [prepared.classes[number] for number in numbers]
    return (
        [f"no test image shows {join_words(absent, NAMED_CLASSES)}: macro F1 is the mean of the other classes"]
        if absent
        else []
    )


def explain_board(prepared: PreparedBoard) -> list[str]:
    """Return what the settings of a board mean for its result."""
    config = prepared.config
    caveats = []
    folds = config.split.folds
    if not prepared.sizes["validation"] and not folds:
        caveats.append("the validation set is empty: nothing was selected, and every panel saw all training images")
    if config.class_weights != "none":
        caveats.append(
            f"class_weights={config.class_weights} weights the training images; validation and test count every image "
            "once, so that accuracy may fall where macro F1 rises"
        )
    random = [part for part in config.backbone_parts if RANDOM in config.list_weights(part)]
    if random:
        whose = "the backbones" if len(random) == len(config.backbone_parts) else join_words(random, NAMED_CLASSES)
        verb = "has" if len(random) == 1 and whose != "the backbones" else "have"
        caveats.append(f"{whose} {verb} random weights: an ablation, not transfer learning")
    equal = [panel for panel in config.panels if not find_kind(config, panel).draws(config.settings_of(panel))]
    if equal and config.repeats > 1 and not folds:
        caveats.append(f"nothing is drawn in the training of {', '.join(equal)}: all repeats are equal, their std is 0")
    if len(config.panels) > 1:
        caveats.append("times are wall-clock times with panels running in parallel; stored embeddings take no time")
    if {NUMPY_MLP, TORCH_MLP} <= set(config.panels):
        caveats += explain_twins(config)
    return caveats


def explain_drifts(drifts: Sequence[Sequence[float]]) -> list[str]:
    """Return how far apart the weights of the twins ended; nothing where no twins were compared.

    >>> explain_drifts([[1e-6, 2e-5]])
    ['numpy-mlp and torch-mlp are twins: after the last epoch no weight differs by more than 2.0e-05']
    """
    ends = [drift[-1] for drift in drifts if drift]
    if not ends:
        return []
    return [
        f"{NUMPY_MLP} and {TORCH_MLP} are twins: after the last epoch no weight differs by more than {max(ends):.1e}"
    ]


def explain_restored(panels: Sequence[EvaluatedPanel]) -> list[str]:
    """Return which panels were restored, wholly or in part, from an earlier training."""
    restored = [panel for panel in panels if panel.restored_epochs]
    if not restored:
        return []
    epochs = ", ".join(f"{panel.label} #{panel.repeat} (epochs: {panel.restored_epochs})" for panel in restored)
    text = f"{RESTORED} restored from an earlier, identical training, with its times: {epochs}"
    return [f"{text}; use --fresh to train from scratch"]
