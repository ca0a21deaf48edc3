"""Checks before a flow run starts: first what needs no library that takes long to import, then everything else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from triptych.config.names import (
    BACKBONE_NAMES,
    BUNDLED,
    IMAGENET,
    PENULTIMATE,
    RANDOM,
    REGISTERED,
    WEIGHTS_SUFFIXES,
    name_network,
)
from triptych.config.resolve import Config
from triptych.config.schema import NO_GROUPS, BoardConfig
from triptych.errors import ConfigError, WeightsError
from triptych.system.addresses import check_prefect, check_tracking, tracking_uri
from triptych.system.files import check_cache
from triptych.system.progress import tracking
from triptych.transfer.bundled.card import read_card

if TYPE_CHECKING:
    from triptych.data.boards import PreparedBoard

MOST_TRIALS = 100_000


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
    """Check the weights and the cuts of a board's pretrained networks.

    Weights that have to be downloaded or are registered are not checked.

    Raises:
        ConfigError: a network cannot be cut as configured, or has fewer blocks than are to be trained.
        WeightsError: there are no such weights, or they are damaged or belong to another network.
    """
    for part in config.backbone_parts:
        settings = config.for_panel(part).transfer
        weights = settings.weights
        known = weights in {IMAGENET, RANDOM, BUNDLED} or weights.startswith(REGISTERED)
        bundled = read_card()["architecture"]
        if weights == BUNDLED and name_network(part) != bundled:
            raise WeightsError(f"weights 'bundled' are those of {bundled}, not of {part}: {_advise(config, part)}")
        if Path(weights).suffix in WEIGHTS_SUFFIXES and not Path(weights).is_file():
            raise WeightsError(f"weights file {weights} does not exist: check {_find_setting(config, part)}")
        if not known or settings.cut != PENULTIMATE or name_network(part) not in BACKBONE_NAMES:
            from triptych.transfer.finetuning.unfreezing import check_backbone

            check_backbone(part, settings)


def _advise(config: BoardConfig, part: str) -> str:
    """Return which setting changes the weights of one of the networks of a board."""
    network = name_network(part)
    return f"set {'transfer' if len(config.backbone_parts) == 1 else f'networks.{network}'}.weights to others"


def _find_setting(config: BoardConfig, part: str) -> str:
    """Return the setting that the weights of one of the networks of a board come from."""
    own = [name for name in (part, name_network(part)) if "weights" in config.networks.get(name, {})]
    return f"networks.{own[0]}.weights" if own else "transfer.weights"


def check_inputs(config: Config) -> list[PreparedBoard]:
    """Check that servers answer and registered weights exist, read every data set, and return the prepared boards.

    Raises:
        ConfigError: there are no tuned settings or registered weights as requested, or a server does not answer.
        DataError: a data set is missing, damaged or cannot be split.
        StorageError: the cache cannot be written.
        WeightsError: the registered weights belong to another network.
    """
    from triptych.data.preparation import prepare_once

    boards = [_pin_weights(board) for board in config.boards]
    check_cache()
    check_tracking(tracking_uri())
    if url := os.environ.get("PREFECT_API_URL"):
        check_prefect(url)
    records = []
    for board in boards:
        with tracking(f"check {board.name}") as move:
            prepared = prepare_once(board, on_image=move)
            images = sum(prepared.sizes.values())
            move(images, images, describe_sizes(prepared.sizes, prepared.config.split.folds))
        records.append(prepared)
    if config.tuned:
        from triptych.tuning.results import use_tuned

        records = [use_tuned(prepared) for prepared in records]
    return records


def check_tuning(config: Config, trials: int, workers: int) -> None:
    """Check the inputs, and what else `tune` needs.

    Raises:
        ConfigError: the number of trials or workers is out of range, a validation set is empty, or a panel has nothing
            to tune.
        DataError: a data set is missing, damaged or cannot be split.
        StorageError: the cache cannot be written.
        WeightsError: there are no such weights, or they are damaged or belong to another network.
    """
    for name, count in {"--trials": trials, "--workers": workers}.items():
        if not 1 <= count <= MOST_TRIALS:
            raise ConfigError(f"{name} {count} is not allowed: it must be between 1 and {MOST_TRIALS:,}")
    from triptych.tuning.study import check_validation, identify_study

    for prepared in check_inputs(config):
        check_validation(prepared)
        for panel in prepared.config.panels:
            identify_study(prepared, panel)


def describe_sizes(sizes: dict[str, int], folds: int = 0) -> str:
    """Return the sizes of the parts, or the number of folds, in a few words.

    >>> describe_sizes({"train": 3, "validation": 1, "test": 2})
    '3 train, 1 validation, 2 test'
    """
    if folds:
        return f"{sizes['test']} in {folds} folds"
    return ", ".join(f"{size} {part}" for part, size in sizes.items())


def _pin_weights(config: BoardConfig) -> BoardConfig:
    if not config.transfer.weights.startswith(REGISTERED):
        return config
    from triptych.tracking.registry.weights import pin_weights

    return pin_weights(config)
