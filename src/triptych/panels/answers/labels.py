"""The features by which labels are judged: stored embeddings, or histograms of the gradients of small images."""

from __future__ import annotations

from collections.abc import Mapping

from triptych.data.boards import BoardData
from triptych.data.shards.files import are_sound
from triptych.images.gradients import describe_gradients
from triptych.images.sources import ArrayImages
from triptych.panels.answers.amount import embed_panels
from triptych.transfer.discriminant import Features
from triptych.transfer.records import EmbeddingRecord, load_embeddings


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


def find_features(data: BoardData, embedded: Mapping[str, EmbeddingRecord]) -> Features:
    """Return the features of all images of a comparison, (n, dimension) float32, without computing an embedding.

    Without embeddings on this machine they are histograms of gradients, of the images or of their thumbnails.

    Args:
        data: the board.
        embedded: the embeddings of its panels, the best panel first.
    """
    sound = (record for record in embedded.values() if are_sound(record.shards))
    record = next(sound, None)
    return load_embeddings(record) if record else describe_gradients(data.pixels)
