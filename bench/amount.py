"""How often the forecast of `amount` at the full size, made from half of the training images, covers the truth.

On the digits each draw is another split, and the truth is the accuracy on the same test images of what is trained on
all training images. On MNIST each draw has other 4,000 training and 1,000 test images, and the truth is taken on
8,000 images that the forecast has not seen.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from statistics import median

import numpy as np
from measure import Figure, publish

from triptych.config.resolve import resolve_config
from triptych.data.boards import BoardData, load_board, prepare_board
from triptych.data.splits import Split
from triptych.evaluation.amount.forecast import Estimate, forecast_accuracy
from triptych.panels.answers.amount import Subset, draw_subsets, embed_panels, train_on_subsets
from triptych.training.jobs import list_jobs

DRAWS, TARGET = 20, 0.8
BOARDS = (("digits", "numpy-mlp"), ("digits", "shufflenet_v2_x0_5"), ("mnist", "nearest-neighbours"))


def draw_boards(source: str, panel: str, draws: int) -> Iterator[tuple[BoardData, BoardData]]:
    """Yield a board with half of its training images, and the same with all of them and the images of the truth."""
    for seed in range(draws):
        config = resolve_config("digits", data=source, panels=[panel], settings=[f"split.seed={seed}"]).boards[0]
        data = load_board(prepare_board(config))
        if source == "digits":
            half = draw_subsets(data, 1)[-3]
            halved = replace(data.split, train=half.train, validation=half.validation)
            yield replace(data, split=halved), data
        else:
            order = np.random.default_rng(seed).permutation(len(data.labels))
            yield (
                replace(data, split=cut(data.split, order, 2000, 220, slice(5000, 6000))),
                replace(data, split=cut(data.split, order, 4000, 440, slice(6000, 14000))),
            )


def cut(split: Split, order: np.ndarray, train: int, validation: int, test: slice) -> Split:
    """Return a split of some of the images, in a random order: validation images are from 4,000 on."""
    chosen, held_out, tested = (np.sort(part) for part in (order[:train], order[4000 : 4000 + validation], order[test]))
    return replace(split, train=chosen, validation=held_out, test=tested)


def forecast_from_half(half: BoardData, full: BoardData) -> tuple[Estimate, float]:
    """Return the forecast for twice the images, and the accuracy that they bring, the mean of three seeds."""
    [job] = list_jobs(half.prepared)
    embedded = embed_panels(half).get(job.panel)
    subsets = draw_subsets(half, 5)
    images = np.array([len(one.train) for one in subsets if not one.draw])
    correct = train_on_subsets(half, job, subsets, embedded)
    everything = [Subset(0, seed, full.split.train, full.split.validation) for seed in range(3)]
    truth = train_on_subsets(full, job, everything, embedded).mean()
    return forecast_accuracy(job.panel, job.label, images, correct, confidence_level=0.95).forecast[0], float(truth)


def measure(source: str, panel: str, draws: int) -> list[Figure]:
    """Return the share of forecasts that cover the truth, and how wide their intervals are."""
    found = [forecast_from_half(*boards) for boards in draw_boards(source, panel, draws)]
    covered = sum(one.low <= truth <= one.high for one, truth in found) / draws
    widths = [100 * (one.high - one.low) for one, _ in found]
    name = f"{source}, {panel}"
    return [
        Figure("amount", f"{name}: 95 % forecasts that cover the truth", covered, covered, covered, TARGET),
        Figure("amount", f"{name}: width in points", median(widths), min(widths), max(widths), 10.0, at_most=True),
    ]


def main() -> None:
    """Measure all boards; a number as argument draws fewer times, and publishes nothing."""
    draws = int(sys.argv[1]) if len(sys.argv) > 1 else DRAWS
    figures = [figure for source, panel in BOARDS for figure in measure(source, panel, draws)]
    if draws == DRAWS:
        publish("amount", figures, f"{draws} draws")
    else:
        print(*figures, sep="\n")


if __name__ == "__main__":
    main()
