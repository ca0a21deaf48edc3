from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from triptych.data.boards import BoardData
from triptych.evaluation.ensemble.average import average_panels, describe_outcome
from triptych.evaluation.metrics import measure_probabilities
from triptych.evaluation.pairs import compare_pairs
from triptych.evaluation.predictions import Predictions
from triptych.evaluation.report import ENSEMBLE, Ensemble, EvaluatedPanel, write_report

# For each image the probability of its class and of the next one; the others share the rest.
RIGHT, UNSURE, WRONG, GUESS = (0.9, 0.01), (0.3, 0.4), (0.01, 0.9), (0.1, 0.1)
Answers = Sequence[tuple[float, float]]


class Planted:
    """Panels of the digits whose answers are given, with their stored predictions."""

    def __init__(self, data: BoardData) -> None:
        self.data = data
        self.panels: list[EvaluatedPanel] = []
        self.tested: dict[str, Predictions] = {}
        self.validated: dict[str, Predictions] = {}

    def add(self, label: str, tested: Answers, validated: Answers | None = None, repeats: int = 1) -> None:
        """Add a panel that repeats some answers until all images of a part have one."""
        for repeat in range(repeats):
            run = f"{label} {repeat}"
            self.tested[run] = self._predict(self.data.split.test, tested, repeat)
            self.validated[run] = self._predict(self.data.split.validation, validated or tested, repeat)
            metrics = measure_probabilities(self.tested[run].labels, self.tested[run].probabilities, 15)
            validation = measure_probabilities(self.validated[run].labels, self.validated[run].probabilities, 15)
            metrics |= {f"final_val_{name}": validation[f"test_{name}"] for name in ("accuracy", "log_loss")}
            self.panels.append(EvaluatedPanel(label, label, repeat, run, metrics))

    def _predict(self, part: np.ndarray, answers: Answers, shift: int) -> Predictions:
        labels = self.data.labels[part]
        places = np.arange(len(part))
        truth, other = np.asarray(answers)[(places + shift) % len(answers)].T
        probabilities = np.repeat(((1.0 - truth - other) / 8.0)[:, None], 10, axis=1)
        probabilities[places, labels], probabilities[places, (labels + 1) % 10] = truth, other
        return Predictions(part, labels, probabilities)

    def average(self, **changed: Any) -> Ensemble | None:
        given = {"prepared": self.data.prepared, "panels": self.panels, "load_validated": self.validated.__getitem__}
        return average_panels(**{**given, "tested": self.tested, **changed})


def found(planted: Planted) -> Ensemble:
    ensemble = planted.average()
    assert ensemble is not None
    return ensemble


def test_panels_that_complement_each_other_are_better_together(digits: BoardData) -> None:
    planted = Planted(digits)
    planted.add("one", [UNSURE, RIGHT, RIGHT, RIGHT], repeats=2)
    planted.add("other", [RIGHT, UNSURE, RIGHT, RIGHT], repeats=2)
    planted.add("guess", [GUESS], repeats=2)
    ensemble = found(planted)
    assert ensemble.weights == pytest.approx({"one": 0.5, "other": 0.5, "guess": 0.0}, abs=1e-3)
    assert (ensemble.standing.test_accuracy, ensemble.standing.repeats, ensemble.rival) == (1.0, 2, "one")
    assert ensemble.standing.low < 1.0
    assert ensemble.pair.separated
    assert ensemble.text.startswith(
        "The ensemble (0.50 one + 0.50 other, mean weights, chosen on validation) reaches 1.0000 on 540 test images. "
        "It is significantly better than the best panel on validation, 25.00 points ahead of one (95 % interval +"
    )
    # It stands below the ranking, and the panels are compared as if it were not there.
    report = write_report(digits.prepared, planted.panels, planted.tested)
    with_it = replace(report, ensemble=ensemble)
    assert [row["panel"] for row in with_it.as_rows("terminal")] == ["one", "other", "guess", ENSEMBLE]
    assert [row["panel"] for row in with_it.as_rows("costs")] == ["one", "other", "guess"]
    assert f"\n\n{ensemble.text}\n\n" in with_it.as_markdown()
    assert "\n| *ensemble* | 1.0000 |" in with_it.as_markdown()
    logged = with_it.as_json()
    assert logged | {"ensemble": None} == report.as_json()
    assert logged["ensemble"].items() >= {"test_accuracy": 1.0, "weights": ensemble.weights, "rival": "one"}.items()


def test_equal_panels_share_the_weight_and_change_nothing(digits: BoardData) -> None:
    planted = Planted(digits)
    for label in ("one", "twin"):
        planted.add(label, [UNSURE, RIGHT])
    ensemble = found(planted)
    assert ensemble.weights == pytest.approx({"one": 0.5, "twin": 0.5})
    assert ensemble.text == (
        "The ensemble of these trainings (0.50 one + 0.50 twin, weights chosen on validation) reaches 0.5000 on 540 "
        "test images and agrees with one, the best panel on validation, on every test image."
    )


def test_weights_and_rival_are_chosen_on_validation_whatever_the_test_set_says(digits: BoardData) -> None:
    planted = Planted(digits)
    planted.add("best on validation", tested=[WRONG, RIGHT], validated=[RIGHT])
    planted.add("best on test", tested=[RIGHT], validated=[WRONG, RIGHT])
    ensemble = found(planted)
    assert ensemble.weights == pytest.approx({"best on validation": 1.0, "best on test": 0.0}, abs=1e-3)
    assert (ensemble.rival, ensemble.standing.test_accuracy) == ("best on validation", 0.5)


def test_there_is_no_ensemble_where_it_makes_no_sense(digits: BoardData) -> None:
    planted = Planted(digits)
    for label in ("one", "other"):
        planted.add(label, [RIGHT], repeats=2)
    assert planted.average()
    board = digits.prepared
    off = board.config.evaluate.model_copy(update={"ensemble": False})
    folds = board.config.split.model_copy(update={"folds": 5})
    stored = planted.validated["one 0"]
    silent: list[Mapping[str, Any]] = [
        {"prepared": replace(board, config=board.config.model_copy(update={"evaluate": off}))},
        {"prepared": replace(board, config=board.config.model_copy(update={"split": folds}))},
        {"prepared": replace(board, sizes=board.sizes | {"validation": 0})},
        {"panels": planted.panels[:2]},
        {"panels": [planted.panels[0], planted.panels[3]]},
        {
            "load_validated": {
                **planted.validated,
                "one 0": replace(stored, columns=np.zeros((1, 20), dtype=np.uint8)),
            }.__getitem__
        },
    ]
    assert [planted.average(**changed) for changed in silent] == [None] * len(silent)
    # A repeat that one panel lacks is left out for all.
    partly = planted.average(panels=planted.panels[:3])
    assert partly is not None
    assert partly.standing.repeats == 1


@pytest.mark.parametrize(
    ("wrong", "wrong_rival", "text"),
    [
        (range(5), range(5), " and agrees with best, the best panel on validation, on every test image."),
        (range(5), range(5, 10), " and is level with best, the best panel on validation."),
        (range(3), range(5), ", but its lead over best, the best panel on validation, could be chance."),
        (range(5), range(3), "; the lead of best, the best panel on validation, could be chance."),
        (
            range(5),
            range(60),
            ". It is significantly better than the best panel on validation, 27.50 points ahead of best (95 %",
        ),
        (
            range(60),
            range(5),
            ". best, the best panel on validation, is significantly better, 27.50 points ahead of the ensemble (95",
        ),
    ],
)
def test_the_outcome_is_told_in_the_words_of_the_verdict(wrong: range, wrong_rival: range, text: str) -> None:
    correct = {
        label: {0: ~np.isin(np.arange(200), places)}
        for label, places in {"best": wrong_rival, "weak": range(100), ENSEMBLE: wrong}.items()
    }
    pairs = compare_pairs(correct, ["best", "weak"], 0.95, others=[(ENSEMBLE, "best")])
    assert len(pairs) == 2
    # Holm's correction counts both comparisons.
    assert pairs[-1].adjusted_p_value >= pairs[-1].paired.p_value
    assert describe_outcome(pairs[-1], "best", 0.95).startswith(text)
