"""Checks that come before anything is started: paths, layouts of folders, and weights."""

from __future__ import annotations

from pathlib import Path

from triptych.config.names import BUNDLED, IMAGENET, RANDOM, REGISTERED, WEIGHTS_SUFFIXES
from triptych.config.resolve import Config
from triptych.config.schema import NO_GROUPS, BoardConfig
from triptych.errors import WeightsError
from triptych.transfer.bundled.card import read_card


def check_early(config: Config) -> None:
    """Check that data are where the configuration says, how folders are laid out, and that weights fit.

    No library is imported that takes seconds, except PyTorch for weights of the user's own.

    Raises:
        DataError: a data set is unknown, or its files are not there or laid out in another way.
        WeightsError: there are no such weights, or they are damaged or belong to another network.
    """
    from triptych.data.datasets import check_source

    for board in config.boards:
        nested = board.split.group_by != NO_GROUPS
        check_source(board.data.source, nested=nested, columns=board.data.columns)
        check_board_weights(board)


def check_board_weights(config: BoardConfig) -> None:
    """Check the weights of a board's pretrained networks, unless they have to be downloaded or are registered.

    Raises:
        WeightsError: there are no such weights, or they are damaged or belong to another network.
    """
    weights = config.transfer.weights
    if not config.backbone_panels or weights in {IMAGENET, RANDOM} or weights.startswith(REGISTERED):
        return
    if weights == BUNDLED:
        bundled = read_card()["architecture"]
        for panel in config.backbone_panels:
            if panel != bundled:
                raise WeightsError(
                    f"weights 'bundled' are those of {bundled}, not of {panel}: set transfer.weights to another"
                )
        return
    if Path(weights).suffix in WEIGHTS_SUFFIXES and not Path(weights).is_file():
        raise WeightsError(f"weights file {weights} does not exist: check transfer.weights")
    from triptych.transfer.weights import check_weights

    for panel in config.backbone_panels:
        check_weights(panel, weights)
