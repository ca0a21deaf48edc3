"""The features by which labels are judged: stored embeddings, or histograms of the gradients of small images."""

from __future__ import annotations

from triptych.data.boards import BoardData
from triptych.images.gradients import describe_gradients
from triptych.images.sources import ArrayImages
from triptych.panels.answers.amount import embed_panels
from triptych.transfer.discriminant import Features
from triptych.transfer.records import load_embeddings


def are_small(data: BoardData) -> bool:
    """Return whether all images have one small size, as digits have, for which pretrained networks are not made."""
    return isinstance(data.images, ArrayImages)


def provide_features(data: BoardData, panel: str) -> Features:
    """Return the features of all images, (n, dimension) float32.

    Args:
        data: the board, whose configuration has the panel.
        panel: the network whose embeddings are wanted, computed where they are not stored; empty: no network.

    Raises:
        WeightsError: the weights are missing, damaged or of another network.
    """
    return load_embeddings(embed_panels(data)[panel]) if panel else describe_gradients(data.pixels)
