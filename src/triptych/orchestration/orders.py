"""One panel of a comparison, for a machine of another work pool: what its flow run is told."""

from __future__ import annotations

from triptych.config.schema import BoardConfig, Section
from triptych.data.boards import prepare_board, require_same_data
from triptych.tracking import ComparisonRecord, pin_weights


class PanelOrder(Section):
    """Which panel of which comparison; names, hashes and settings, and no data."""

    panel: str
    """The panel: `numpy-mlp`, `torch-mlp` or a torchvision network."""
    board: BoardConfig
    """The board's configuration, with all its panels."""
    comparison: str
    """The comparison's id."""
    experiment_id: str
    """MLflow's id of the board's experiment."""
    run_id: str
    """MLflow's id of the run named `comparison`."""
    data_digest: str
    """SHA-256 of the data, hexadecimal: other data are refused."""
    split_id: str
    """Id of the split, which must come out the same."""
    fresh_since: float | None = None
    """Seconds since 1970: trainings from before then are not taken up; empty: all are."""


def write_order(comparison: ComparisonRecord, panel: str) -> PanelOrder:
    """Return the order for a panel of a comparison."""
    return PanelOrder(
        panel=panel,
        board=comparison.board.config,
        comparison=comparison.comparison,
        experiment_id=comparison.experiment_id,
        run_id=comparison.run_id,
        data_digest=comparison.board.data_digest,
        split_id=comparison.board.split_id,
        fresh_since=comparison.fresh_since,
    )


def open_order(order: PanelOrder) -> ComparisonRecord:
    """Return the comparison as this machine sees it: with its own copy of the data, and one panel to train.

    Raises:
        DataError: the data are missing here, or are others.
    """
    board = prepare_board(pin_weights(order.board))
    require_same_data(board, order.data_digest, order.split_id)
    return ComparisonRecord(
        order.comparison, order.experiment_id, order.run_id, board, order.fresh_since, ordered=order.panel
    )
