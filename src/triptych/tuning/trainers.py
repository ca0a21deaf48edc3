"""Training for trials: the same networks and steps as in a comparison, from memory, and nothing is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from triptych.config.trainers import MLPConfig, TransferConfig, kind_of_panel
from triptych.data.boards import Board
from triptych.images.pixels import scale_pixels
from triptych.networks.minibatches import Examples
from triptych.system.threads import limit_blas_threads
from triptych.training.epochs import OnEpoch
from triptych.training.mlp import train_mlp
from triptych.transfer.records import EmbeddingRecord, load_embeddings
from triptych.tuning.study import Fit

# Every trial starts from the same weights and sees the same batches: they differ by their setting alone.
SEED = 0


def load_trainer(board: Board, panel: str, embedded: Mapping[str, EmbeddingRecord] | None) -> Fit:
    """Read the training and the validation part, and return a function that trains on them.

    Args:
        board: the board; its test part is left alone.
        panel: the panel that is tuned.
        embedded: for each panel that stands on a frozen network the record of its embeddings.

    Returns:
        A function of settings and a callback for each epoch.
    """
    return LOADERS[kind_of_panel(panel)](board, panel, embedded)


def _load_mlp_trainer(board: Board, panel: str, embedded: Mapping[str, EmbeddingRecord] | None) -> Fit:
    del embedded
    kind = kind_of_panel(panel)
    fixed: MLPConfig = getattr(board.record.config, kind)
    train, validation = (
        Examples(scale_pixels(board.pixels[part], fixed.dtype, fixed.input_range), board.labels[part])
        for part in (board.split.train, board.split.validation)
    )

    def fit(settings: MLPConfig, on_epoch: OnEpoch) -> None:
        classes = len(board.record.classes)
        with limit_blas_threads(settings.threads):
            train_mlp(kind, settings, train, validation, classes=classes, seed=SEED, on_epoch=on_epoch)

    return fit


def _load_head_trainer(board: Board, panel: str, embedded: Mapping[str, EmbeddingRecord] | None) -> Fit:
    from triptych.transfer.heads import train_head
    from triptych.transfer.plan import find_embeddings
    from triptych.transfer.weights import load_backbone

    fixed = board.record.config.for_panel(panel).transfer
    if fixed.fine_tunes:
        return _load_fine_tuner(board, panel)
    dropout = load_backbone(panel, fixed.weights).head_dropout
    rows = load_embeddings(find_embeddings(board, panel, (embedded or {})[panel]))
    train, validation = (
        Examples(rows.select(part), board.labels[part])  # type: ignore[arg-type]  # read like an array
        for part in (board.split.train, board.split.validation)
    )

    def fit(settings: TransferConfig, on_epoch: OnEpoch) -> None:
        classes = len(board.record.classes)
        with limit_blas_threads(settings.threads):
            train_head(settings, train, validation, classes=classes, dropout=dropout, seed=SEED, on_epoch=on_epoch)

    return fit


def _load_fine_tuner(board: Board, panel: str) -> Fit:
    """Return a function that trains head and last blocks on images, in one process: trials run side by side."""
    from triptych.training.examples import select_parts
    from triptych.training.loop import fit_network
    from triptych.transfer.finetuning.steps import FineTuning
    from triptych.transfer.weights import load_backbone

    backbone = load_backbone(panel, board.record.config.transfer.weights)
    parts = select_parts(board)

    def fit(settings: TransferConfig, on_epoch: OnEpoch) -> None:
        tuning = FineTuning(backbone, settings, len(board.record.classes), SEED)
        fit_network(tuning, settings, *parts, rng=tuning.rng, on_epoch=on_epoch)
        tuning.check_frozen()

    return fit


LOADERS: dict[str, Callable[[Board, str, Mapping[str, EmbeddingRecord] | None], Fit]] = {
    "numpy_mlp": _load_mlp_trainer,
    "torch_mlp": _load_mlp_trainer,
    "transfer": _load_head_trainer,
}
