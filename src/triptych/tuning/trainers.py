"""Training for trials: the same networks and steps as in a comparison, from memory, and nothing is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from triptych.config.trainers import MLPConfig, TransferConfig, kind_of_panel
from triptych.data.boards import BoardData
from triptych.images.pixels import scale_pixels
from triptych.networks.minibatches import Examples
from triptych.system.threads import limit_blas_threads
from triptych.training.epochs import OnEpoch
from triptych.training.mlp import train_mlp
from triptych.transfer.records import EmbeddingRecord, load_embeddings
from triptych.tuning.study import Fit

# Every trial starts from the same weights and sees the same batches: they differ by their setting alone.
SEED = 0


def load_trainer(data: BoardData, panel: str, embedded: Mapping[str, EmbeddingRecord] | None) -> Fit:
    """Read the training and the validation part, and return a function that trains on them.

    Args:
        data: the board; its test part is left alone.
        panel: the panel that is tuned.
        embedded: for each panel that stands on a frozen network the record of its embeddings.

    Returns:
        A function of settings and a callback for each epoch.
    """
    return LOADERS[kind_of_panel(panel)](data, panel, embedded)


def _load_mlp_trainer(data: BoardData, panel: str, embedded: Mapping[str, EmbeddingRecord] | None) -> Fit:
    del embedded
    kind = kind_of_panel(panel)
    fixed: MLPConfig = getattr(data.prepared.config, kind)
    train, validation = (
        Examples(scale_pixels(data.pixels[part], fixed.dtype, fixed.input_range), data.labels[part])
        for part in (data.split.train, data.split.validation)
    )

    def fit(settings: MLPConfig, on_epoch: OnEpoch) -> None:
        classes = len(data.prepared.classes)
        with limit_blas_threads(settings.threads):
            train_mlp(kind, settings, train, validation, classes=classes, seed=SEED, on_epoch=on_epoch)

    return fit


def _load_head_trainer(data: BoardData, panel: str, embedded: Mapping[str, EmbeddingRecord] | None) -> Fit:
    from triptych.transfer.heads import train_head
    from triptych.transfer.plan import find_embeddings
    from triptych.transfer.weights import load_backbone

    fixed = data.prepared.config.for_panel(panel).transfer
    if fixed.fine_tunes:
        return _load_fine_tuner(data, panel)
    dropout = load_backbone(panel, fixed.weights).head_dropout
    rows = load_embeddings(find_embeddings(data, panel, (embedded or {})[panel]))
    train, validation = (
        Examples(rows.select(part), data.labels[part])  # type: ignore[arg-type]  # read like an array
        for part in (data.split.train, data.split.validation)
    )

    def fit(settings: TransferConfig, on_epoch: OnEpoch) -> None:
        classes = len(data.prepared.classes)
        with limit_blas_threads(settings.threads):
            train_head(settings, train, validation, classes=classes, dropout=dropout, seed=SEED, on_epoch=on_epoch)

    return fit


def _load_fine_tuner(data: BoardData, panel: str) -> Fit:
    """Return a function that trains head and last blocks on images, in one process: trials run side by side."""
    from triptych.training.examples import select_parts
    from triptych.training.loop import fit_network
    from triptych.transfer.finetuning.steps import FineTuning
    from triptych.transfer.weights import load_backbone

    backbone = load_backbone(panel, data.prepared.config.transfer.weights)
    parts = select_parts(data)

    def fit(settings: TransferConfig, on_epoch: OnEpoch) -> None:
        tuning = FineTuning(backbone, settings, len(data.prepared.classes), SEED)
        fit_network(tuning, settings, *parts, rng=tuning.rng, on_epoch=on_epoch)
        tuning.check_frozen()

    return fit


LOADERS: dict[str, Callable[[BoardData, str, Mapping[str, EmbeddingRecord] | None], Fit]] = {
    "numpy_mlp": _load_mlp_trainer,
    "torch_mlp": _load_mlp_trainer,
    "transfer": _load_head_trainer,
}
