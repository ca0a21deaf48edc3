"""Training for trials: the same trainers as in a comparison, on data that is read once, and nothing is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from triptych.data.boards import BoardData
from triptych.panels.fitting import Trainer
from triptych.panels.kinds import find_kind
from triptych.system.threads import limit_blas_threads
from triptych.training.epochs import OnEpoch
from triptych.training.jobs import PanelJob
from triptych.transfer.records import EmbeddingRecord
from triptych.tuning.study import Fit

# Every trial starts from the same weights and sees the same batches: they differ by their setting alone.
SEED = 0
# Trials run side by side: each trains in its own process alone.
ALONE = {"processes": 1}


def load_trainer(data: BoardData, panel: str, embedded: Mapping[str, EmbeddingRecord] | None) -> Fit:
    """Read the training and the validation part, and return a function that trains on them.

    Args:
        data: the board; its test part is left alone.
        panel: the panel that is tuned.
        embedded: for each panel with a backbone the record of its embeddings.

    Returns:
        A function of settings and a callback for each epoch.
    """
    job = PanelJob(data.prepared, panel, SEED)
    kind = find_kind(data.prepared.config, panel)
    trainer: Trainer = kind.find_trainer()(data, job, (embedded or {}).get(panel))

    def fit(settings: Any, on_epoch: OnEpoch) -> None:
        alone = {name: value for name, value in ALONE.items() if name in type(settings).model_fields}
        with limit_blas_threads(settings.threads):
            trainer.train(settings.model_copy(update=alone), on_epoch)

    return fit
