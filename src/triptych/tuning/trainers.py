"""Training for trials: the trainers of a comparison, on data that is read once, without saving anything."""

from __future__ import annotations

from typing import Any

from triptych.data.boards import BoardData
from triptych.panels.fitting import Trainer
from triptych.panels.kinds import find_kind
from triptych.system.threads import limit_blas_threads
from triptych.training.epochs import OnEpoch
from triptych.training.jobs import PanelJob
from triptych.transfer.records import BoardEmbeddings
from triptych.tuning.study import Fit

# All trials use the same initial weights and batches, so that they differ in their setting alone.
SEED = 0
# Trials run in parallel, so each of them trains in a single process.
ALONE = {"processes": 1}


def load_trainer(data: BoardData, panel: str, embedded: BoardEmbeddings | None) -> Fit:
    """Read the training and validation sets, and return a function that trains on them.

    Args:
        data: the board; its test set is not used.
        panel: the panel to tune.
        embedded: the embeddings of the board; None if the panel needs none.

    Returns:
        A function that takes the settings and a callback for each epoch.
    """
    job = PanelJob(data.prepared, panel, SEED)
    kind = find_kind(data.prepared.config, panel)
    trainer: Trainer = kind.find_trainer()(data, job, embedded.record_of(panel) if embedded else None)

    def fit(settings: Any, on_epoch: OnEpoch) -> None:
        alone = {name: value for name, value in ALONE.items() if name in type(settings).model_fields}
        with limit_blas_threads(settings.threads):
            trainer.train(settings.model_copy(update=alone), on_epoch)

    return fit
