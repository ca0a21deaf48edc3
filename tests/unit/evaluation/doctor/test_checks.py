"""Each check speaks where it should, and is silent where it should be."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest

from helpers.evidence import make_evidence
from triptych.data.boards import BoardData
from triptych.evaluation.doctor.checks import CHECKS, examine_models
from triptych.evaluation.report import Report, group_by_cause

ROOT = Path(__file__).parents[4]
EPOCHS = 60
FLAT = {"train_loss": [0.1] * EPOCHS, "train_accuracy": [0.98] * EPOCHS, "val_accuracy": [0.97] * EPOCHS}
FALLING = np.geomspace(1.0, 0.1, EPOCHS).tolist()
RISING = np.linspace(0.1, 0.9, EPOCHS).tolist()
MLP = {"name": "numpy-mlp"}
TWIN = {"name": "torch-mlp"}
NEIGHBOURS = {"name": "nearest-neighbours"}
SETTLED = FLAT | {
    "train_loss": [*FALLING[: EPOCHS // 2], *[FALLING[EPOCHS // 2]] * (EPOCHS // 2)],
    "val_loss": [0.1] * EPOCHS,
}


class Case(NamedTuple):
    """A comparison in which a check says something, and one in which it does not."""

    words: str
    speaks: list[dict[str, Any]]
    silent: list[dict[str, Any]]
    fields: Mapping[str, Any] = MappingProxyType({})


CASES = {
    "T001": Case("always answering", [MLP | {"answer": 3}], [MLP, {"name": "most-frequent", "answer": 3}]),
    "T002": Case(
        "simpler than numpy-mlp and at least as accurate: nearest-neighbours (0.9907)",
        [MLP | {"errors": 20}, NEIGHBOURS | {"errors": 5}],
        [MLP | {"errors": 5}, NEIGHBOURS | {"errors": 20}],
    ),
    "T003": Case(
        "still improving at the last epoch: numpy-mlp (validation loss down",
        [MLP | {"curves": FLAT | {"train_loss": FALLING, "val_loss": FALLING, "val_accuracy": RISING}}],
        [MLP | {"curves": SETTLED}],
    ),
    "T004": Case(
        "overfitted: numpy-mlp (1.0000 on the training images, 0.7000",
        [MLP | {"curves": FLAT | {"train_accuracy": [1.0] * EPOCHS, "val_accuracy": [0.7] * EPOCHS}}],
        [MLP | {"curves": FLAT}],
    ),
    "T005": Case(
        "underfitted: numpy-mlp (0.6000 on its own training images, where nearest-neighbours",
        [MLP | {"curves": FLAT | {"train_accuracy": [0.6] * EPOCHS}, "errors": 200}, NEIGHBOURS],
        [MLP | {"curves": FLAT}, NEIGHBOURS],
    ),
    "T006": Case(
        "the edge of what was searched: numpy-mlp (learning_rate=1 of 0.001 to 1",
        [MLP],
        [TWIN],
        {"tuned": ("numpy-mlp",)},
    ),
    "T007": Case("numpy-mlp was tuned, but torch-mlp was not", [MLP, TWIN], [MLP], {"tuned": ("numpy-mlp",)}),
    "T008": Case(
        "no less accurate: numpy-mlp (100 s, nearest-neighbours 1.0 s)",
        [MLP | {"fit_seconds": 100.0}, NEIGHBOURS],
        [MLP | {"fit_seconds": 100.0, "errors": 0}, NEIGHBOURS],
    ),
    "T009": Case("never answered: numpy-mlp (3)", [MLP | {"never": 3}], [MLP, {"name": "most-frequent", "answer": 3}]),
    "T010": Case(
        "by more than chance: numpy-mlp (0.7000 on validation, 0.9815 on test)",
        [MLP | {"final_val_accuracy": 0.7}],
        [MLP | {"final_val_accuracy": 0.97}],
    ),
    "T012": Case(
        "off the accuracy: numpy-mlp (by 0.120, where 0.010 would be chance; 0.020 once scaled)",
        [MLP | {"test_ece": 0.12, "test_ece_calibrated": 0.02}],
        [MLP | {"test_ece": 0.02}, {"name": "most-frequent", "test_ece": 0.12}],
    ),
    "T013": Case(
        "depends on the seed: numpy-mlp (0.7222 to 1.0000 in 2 repeats)",
        [MLP | {"errors": 0}, MLP | {"errors": 150}],
        [MLP, MLP],
    ),
    "T014": Case(
        "hardly learning: numpy-mlp (training loss 2.3 after the first epoch, 2.29 after the last)",
        [MLP | {"curves": {"train_loss": [2.3, 2.29], "train_accuracy": [0.1, 0.1]}}],
        [MLP | {"curves": {"train_loss": [2.3, 0.29], "train_accuracy": [0.1, 0.95]}}],
    ),
}
ELSEWHERE = {"T011": "test_shortcuts.py", "T015": "test_answers.py"}


def list_lines(code: str, digits: BoardData, panels: list[dict[str, Any]], fields: Mapping[str, Any]) -> list[str]:
    settings = digits.prepared.config.numpy_mlp.model_copy(update={"learning_rate": 1.0})
    if code == "T006":
        fields = {"numpy_mlp": settings, **fields}
    lines = group_by_cause(examine_models(make_evidence(digits, *panels, **fields)))
    return [line for line in lines if line.startswith(code)]


@pytest.mark.parametrize("code", CASES)
def test_a_check_speaks_where_it_should(code: str, digits: BoardData) -> None:
    case = CASES[code]
    found = list_lines(code, digits, case.speaks, case.fields)
    assert any(case.words in line for line in found), found
    assert all(line.count("; ") >= 1 for line in found)


@pytest.mark.parametrize("code", CASES)
def test_a_check_is_silent_where_it_should_be(code: str, digits: BoardData) -> None:
    case = CASES[code]
    assert list_lines(code, digits, case.silent, case.fields) == []


def test_panels_with_one_cause_share_a_line(digits: BoardData) -> None:
    evidence = make_evidence(digits, *(CASES["T003"].speaks[0] | one for one in (MLP, TWIN)))
    findings = [one for one in examine_models(evidence) if one.code == "T003"]
    figures = "validation loss down 20.9 % in the last 6 of 60 epochs"
    start, end = "T003 still improving at the last epoch: ", "; train for more epochs, or with a larger learning rate "
    both = f"numpy-mlp ({figures}), torch-mlp ({figures}){end}(numpy_mlp.epochs=120, torch_mlp.epochs=120)"
    assert group_by_cause(findings) == [start + both]
    report = Report("digits", 540, (), (), "", (), findings=tuple(findings))
    assert report.as_json()["findings"] == [
        f"{start}{name} ({figures}){end}({name.replace('-', '_')}.epochs=120)" for name in ("numpy-mlp", "torch-mlp")
    ]


def test_every_check_is_tested_and_has_a_page() -> None:
    assert {*CASES, *ELSEWHERE} == {*CHECKS}
    pages = {page.stem for page in (ROOT / "docs" / "findings").glob("T*.md")}
    assert pages == {*CHECKS}
