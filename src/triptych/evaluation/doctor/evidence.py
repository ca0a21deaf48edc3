"""What the checks look at, and what they find."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.data.boards import BoardData
from triptych.evaluation.charts.panels import Curves
from triptych.evaluation.pairs import Pair
from triptych.evaluation.predictions import Predictions
from triptych.evaluation.report import EvaluatedPanel, Report, Standing, keep_common_repeats
from triptych.panels.kinds import Kind, find_kind, name_kind


@dataclass(frozen=True)
class PanelEvidence:
    """All repeats of a panel.

    Attributes:
        name: the panel's name.
        kind: its row in `KINDS`.
        kind_name: the name of that row.
        settings: its section of the configuration.
        standing: its place in the ranking.
        tested: for each repeat, the predictions of the test images.
        curves: for each repeat, the metrics of each epoch, by name.
    """

    name: str
    kind: Kind
    kind_name: str
    settings: Any
    standing: Standing
    tested: Sequence[Predictions]
    curves: Sequence[Curves]

    @property
    def label(self) -> str:
        """The panel's name as reports show it."""
        return self.standing.label

    @property
    def accuracy(self) -> float:
        """Mean test accuracy over the repeats."""
        return self.standing.test_accuracy

    @property
    def seconds(self) -> float:
        """Seconds of embedding and fitting, mean over the repeats."""
        metrics = self.standing.metrics
        return metrics.get("fit_seconds", 0.0) + metrics.get("embed_seconds", 0.0)

    @cached_property
    def correct(self) -> NDArray[np.bool_]:
        """Which test images each repeat classifies correctly, (repeats, n) bool."""
        return np.stack([one.correct for one in self.tested])

    def curve(self, name: str) -> NDArray[np.float64]:
        """Return a metric by epoch, mean over the repeats as far as all were trained; empty if it was not measured."""
        values = [curves.get(name, ()) for curves in self.curves]
        epochs = min((len(one) for one in values), default=0)
        return np.mean([list(one[:epochs]) for one in values], axis=0) if epochs else np.empty(0)

    @property
    def kept_epoch(self) -> int:
        """The index of the epoch whose weights were kept, judged by the mean curve; -1 is the last."""
        if not self.settings.keep_best_epoch:
            return -1
        values = self.curve(self.settings.monitor)
        return int(values.argmin() if self.settings.monitor == "val_loss" else values.argmax())

    @property
    def is_trained_in_epochs(self) -> bool:
        """Whether its training has a course that can be judged."""
        return len(self.curve("train_loss")) > 1


@dataclass(frozen=True)
class Evidence:
    """A comparison, as the checks see it.

    Attributes:
        data: the board.
        panels: the panels by label, the most accurate first.
        pairs: every pair of panels, compared image by image.
        level: the significance level of the board.
    """

    data: BoardData
    panels: Mapping[str, PanelEvidence]
    pairs: Sequence[Pair]
    level: float

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """The true classes of the test images, (n,) int64."""
        return self.data.labels[self.data.split.test]

    @property
    def classes(self) -> Sequence[str]:
        """The class names."""
        return self.data.prepared.classes


def gather_evidence(
    data: BoardData,
    report: Report,
    panels: Sequence[EvaluatedPanel],
    predictions: Mapping[str, Predictions],
    curves: Mapping[str, Sequence[Curves]],
) -> Evidence:
    """Return a comparison as the checks see it.

    Args:
        data: the board.
        report: its tables.
        panels: every repeat of every panel.
        predictions: of every test image, by run id.
        curves: for each label and repeat, the metrics of each epoch.
    """
    config = data.prepared.config
    if config.split.folds:  # every image is tested, and trained on in other folds
        data = replace(data, split=replace(data.split, train=data.split.test))
    compared = keep_common_repeats(panels)
    found = {}
    for standing in report.standings:
        repeats = [panel for panel in compared if panel.label == standing.label]
        name = repeats[0].panel
        found[standing.label] = PanelEvidence(
            name=name,
            kind=find_kind(config, name),
            kind_name=name_kind(config, name),
            settings=config.settings_of(name),
            standing=standing,
            tested=[predictions[panel.run_id] for panel in repeats],
            curves=curves.get(standing.label, ()),
        )
    return Evidence(data, found, report.pairs, 1.0 - config.evaluate.confidence_level)
