"""Checks before a flow run starts, so that a mistake is reported within a second."""

from __future__ import annotations

import os
from functools import partial

from triptych.config.names import REGISTERED
from triptych.config.resolve import Config
from triptych.config.schema import BoardConfig
from triptych.data.boards import PreparedBoard
from triptych.data.preparation import prepare_once
from triptych.errors import ConfigError
from triptych.system.addresses import check_prefect, check_tracking, tracking_uri
from triptych.system.files import check_cache
from triptych.system.progress import track

MOST_TRIALS = 100_000


def check_inputs(config: Config) -> list[PreparedBoard]:
    """Check that servers answer and registered weights exist, read every data set, and return the prepared boards.

    Raises:
        ConfigError: there are no tuned settings or registered weights as requested, or a server does not answer.
        DataError: a data set is missing, damaged or cannot be split.
        StorageError: the cache cannot be written.
        WeightsError: the registered weights belong to another network.
    """
    boards = [_pin_weights(board) for board in config.boards]
    check_cache()
    check_tracking(tracking_uri())
    if url := os.environ.get("PREFECT_API_URL"):
        check_prefect(url)
    records = []
    for board in boards:
        move = track(f"{board.name}: check data")
        prepared = prepare_once(board, on_image=partial(move, detail=""))
        images = sum(prepared.sizes.values())
        move(images, images, describe_sizes(prepared.sizes))
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


def describe_sizes(sizes: dict[str, int]) -> str:
    """Return the sizes of the parts in a few words.

    >>> describe_sizes({"train": 3, "validation": 1, "test": 2})
    '3 train, 1 validation, 2 test'
    """
    return ", ".join(f"{size} {part}" for part, size in sizes.items())


def _pin_weights(config: BoardConfig) -> BoardConfig:
    if not config.transfer.weights.startswith(REGISTERED):
        return config
    from triptych.tracking import pin_weights

    return pin_weights(config)
