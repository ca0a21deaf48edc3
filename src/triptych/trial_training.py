"""Training for trials: the same networks and steps as in a comparison, from memory, and nothing is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from triptych.boards import Board
from triptych.embedding_record import EmbeddingRecord, load_embeddings
from triptych.images import scale_pixels
from triptych.mlp_training import train_mlp
from triptych.sections import MLPConfig, PanelKind, TransferConfig, kind_of_panel
from triptych.threads import limit_blas_threads
from triptych.training import Examples, OnEpoch
from triptych.tuning import Fit

# Every trial starts from the same weights and sees the same batches: they differ by their setting alone.
SEED = 0


def load_trainer(board: Board, panel: str, embedded: Sequence[EmbeddingRecord]) -> Fit:
    """Read the training and the validation part, and return a function that trains on them.

    Args:
        board: the board; its test part is left alone.
        panel: the panel that is tuned.
        embedded: the record of its embeddings, where it stands on a frozen network.

    Returns:
        A function of settings and a callback for each epoch.
    """
    return LOADERS[kind_of_panel(panel)](board, panel, embedded)


def _load_mlp_trainer(board: Board, panel: str, embedded: Sequence[EmbeddingRecord]) -> Fit:
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


def _load_head_trainer(board: Board, panel: str, embedded: Sequence[EmbeddingRecord]) -> Fit:
    from triptych.backbones import load_backbone
    from triptych.transfer import train_head

    [record] = embedded
    dropout = load_backbone(panel, board.record.config.transfer.weights).head_dropout
    rows = load_embeddings(record)
    train, validation = (
        Examples(rows[part], board.labels[part]) for part in (board.split.train, board.split.validation)
    )

    def fit(settings: TransferConfig, on_epoch: OnEpoch) -> None:
        classes = len(board.record.classes)
        with limit_blas_threads(settings.threads):
            train_head(settings, train, validation, classes=classes, dropout=dropout, seed=SEED, on_epoch=on_epoch)

    return fit


LOADERS: dict[PanelKind, Callable[[Board, str, Sequence[EmbeddingRecord]], Fit]] = {
    "numpy_mlp": _load_mlp_trainer,
    "torch_mlp": _load_mlp_trainer,
    "transfer": _load_head_trainer,
}
