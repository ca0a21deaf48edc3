"""The labels of a board that are probably wrong, with the names of their images: as JSON and as a table."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from triptych.data.boards import BoardData
from triptych.evaluation.labels.suspects import FEW_IMAGES, Suspect, find_outliers, find_suspects
from triptych.images.sources import FileImages
from triptych.system.files import replace_atomically
from triptych.transfer.discriminant import Features, discriminate_out_of_fold


@dataclass(frozen=True)
class JudgedLabels:
    """What was found about the labels of a board.

    Attributes:
        data: the board.
        suspects: probably wrong labels, the most certain first.
        outliers: images that are like none of the classes, the farthest first.
        agreement: share of the labels that models predict that have not seen the image.
    """

    data: BoardData
    suspects: Sequence[Suspect]
    outliers: Sequence[int]
    agreement: float

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names."""
        return self.data.prepared.classes

    @property
    def unjudged(self) -> list[str]:
        """The classes with too few images to judge their labels."""
        counts = np.bincount(self.data.labels, minlength=len(self.classes))
        return [name for name, count in zip(self.classes, counts, strict=True) if count < FEW_IMAGES]

    @property
    def verdict(self) -> str:
        """What was found, in one sentence."""
        images, found = len(self.data.labels), len(self.suspects)
        agree = f"models that have not seen the image agree with {100 * self.agreement:.1f} %"
        return f"{found:,} of {images:,} labels {'is' if found == 1 else 'are'} probably wrong; {agree}"

    @property
    def caveats(self) -> list[str]:
        """What readers of a comparison should know: one sentence, nothing if no label is suspected."""
        images, found = len(self.data.labels), len(self.suspects)
        tested = int(np.isin([one.index for one in self.suspects], self.data.split.test).sum())
        be = "is" if found == 1 else "are"
        return [f"{found:,} of {images:,} labels {be} probably wrong, {tested:,} in the test set"] if found else []

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        parts = self.data.split.parts()

        def describe(index: int) -> dict[str, Any]:
            label = self.classes[int(self.data.labels[index])]
            return {"index": index, "path": self.data.name_image(index), "split": str(parts[index]), "label": label}

        return {
            "data": self.data.prepared.data_name,
            "images": len(self.data.labels),
            "agreement": self.agreement,
            "suspects": [
                {**asdict(one), **describe(one.index), "suggested": self.classes[one.suggested]}
                for one in self.suspects
            ],
            "outliers": [describe(index) for index in self.outliers],
            "unjudged_classes": self.unjudged,
        }


def judge_labels(data: BoardData, features: Features) -> JudgedLabels:
    """Return what is found about the labels of all images of a board.

    Args:
        data: the board.
        features: (n, dimension) float32, of its images.
    """
    classes, seed = len(data.prepared.classes), data.prepared.config.split.seed
    found = discriminate_out_of_fold(features, data.labels, classes=classes, seed=seed, groups=data.groups)
    agreement = float((found.logits.argmax(axis=1) == data.labels).mean())
    return JudgedLabels(data, find_suspects(found.logits, data.labels), find_outliers(found.distances), agreement)


def write_corrections(judged: JudgedLabels, file: Path) -> None:
    """Write all images as a table, the suspects first, atomically; `--data FILE` reads it.

    The column `label` holds the labels as given; `suggested` has the suggestions of the suspects in their place. Parts
    are those of the split, so that a comparison with other labels tests the same images; groups and weights are kept.
    """
    suspected = {one.index: one for one in judged.suspects}
    order = [*suspected, *(index for index in range(len(judged.data.labels)) if index not in suspected)]
    images, parts = judged.data.images, judged.data.split.parts()
    more = {"group": judged.data.groups, "weight": judged.data.image_weights}
    kept = {name: values for name, values in more.items() if values is not None}
    with replace_atomically(file) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "label", "suggested", "suspect", "split", *kept])
        for index in order:
            path = images.files[index] if isinstance(images, FileImages) else judged.data.name_image(index)
            label = int(judged.data.labels[index])
            suggested = suspected[index].suggested if index in suspected else label
            names = (judged.classes[label], judged.classes[suggested])
            suspect, others = "yes" if index in suspected else "", [values[index] for values in kept.values()]
            writer.writerow([str(path), *names, suspect, str(parts[index]), *others])
