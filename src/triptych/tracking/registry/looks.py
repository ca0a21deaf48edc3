"""How often the test set of a board was opened for a promotion, and what that left of the error budget."""

from __future__ import annotations

import json
from dataclasses import dataclass

from mlflow.entities.model_registry import ModelVersion

from triptych.evaluation.promotion import Promotion
from triptych.tracking.client import connect, find_or_create_experiment
from triptych.tracking.tags import LOOK, PREFIX


@dataclass(frozen=True)
class Looks:
    """The decisions on a board for which its test set was opened.

    Attributes:
        opened: their number.
        spent: the sum of the probabilities that they were wrong promotions.
    """

    opened: int
    spent: float


def record_look(version: ModelVersion, promotion: Promotion, test_set_id: str) -> None:
    """Note that the test set of a board was opened to decide on a version.

    The note is a tag of the experiment. A version may be deleted, and MLflow reads a registered model only with all its
    versions.
    """
    if promotion.opened:
        note = json.dumps({"spent": promotion.spent, "test_set": test_set_id})
        client = connect()
        board = find_or_create_experiment(client, version.name)
        client.set_experiment_tag(board, f"{PREFIX}{LOOK}.{version.version}", note)


def count_looks(name: str, without: str = "") -> Looks:
    """Return how often the test set of a board was opened.

    Args:
        name: of the board.
        without: a version whose own decision does not count: it is made again after it was interrupted.
    """
    board = connect().get_experiment_by_name(name)
    beginning = f"{PREFIX}{LOOK}."
    notes = [
        json.loads(note)
        for key, note in (board.tags if board else {}).items()
        if key.startswith(beginning) and key.removeprefix(beginning) != without
    ]
    return Looks(len(notes), sum(note["spent"] for note in notes))
