"""What the store of embeddings must hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from triptych.images.pixels import Pixels
from triptych.images.sources import ImageSource
from triptych.networks.backbones import Backbone
from triptych.networks.precision import PRECISIONS
from triptych.transfer import choose_precision
from triptych.transfer.choose_precision import MIN_COSINE, choose_format, measure_formats, worst_cosine
from triptych.transfer.embed import LiveEmbeddings, store_embeddings
from triptych.transfer.records import load_embeddings

SAMPLE_SHARDS = range(1, 4)  # images 4 to 15, of fewer where there are fewer


def check_stored_is_live(backbone: Backbone, images: ImageSource, numbers: range = SAMPLE_SHARDS) -> None:
    """Assert that the store, of four images in a file, holds bit for bit what the network gives."""
    torch.set_num_threads(1)  # the number of threads changes the last bits
    indices = np.arange(4 * numbers.start, min(4 * numbers.stop, len(images)))
    live = LiveEmbeddings(backbone, images, indices, 4)[:]
    whole = len(indices) // 4 * 4  # a batch that is not full is padded in the store, which changes the last bits
    by_hand = np.concatenate(
        [backbone.embed([images[i] for i in indices[at : at + 4].tolist()]) for at in range(0, whole, 4)]
    )
    np.testing.assert_array_equal(live[:whole], by_hand)
    [exact] = store_embeddings([backbone], images, batch_size=4, threads=1, numbers=numbers)
    assert (exact.number_format, exact.computed_images) == ("float32", len(indices))
    np.testing.assert_array_equal(load_embeddings(exact)[:whole], live[:whole])
    np.testing.assert_allclose(load_embeddings(exact)[:], live, rtol=1e-3, atol=1e-5)


def check_faster_is_near(backbone: Backbone, images: ImageSource, numbers: range = SAMPLE_SHARDS) -> None:
    """Assert that what is stored in faster number formats lies elsewhere, and is near the exact embeddings."""
    indices = range(4 * numbers.start, min(4 * numbers.stop, len(images)))
    [exact] = store_embeddings([backbone], images, batch_size=4, threads=1, numbers=numbers)
    sample = np.stack([backbone.preprocessing.crop(images[i]) for i in indices])
    for name in ("float32-folded", choose_faster(backbone, sample)):
        [faster] = store_embeddings([backbone.in_format(name)], images, batch_size=4, threads=1, numbers=numbers)
        assert faster.number_format == name
        assert faster.shards[0].parent != exact.shards[0].parent
        assert worst_cosine(load_embeddings(faster)[:], load_embeddings(exact)[:]) >= MIN_COSINE


def choose_faster(backbone: Backbone, sample: Pixels) -> str:
    """Return what is chosen among the formats that are not exact, whatever it gains here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choose_precision, "TIMED_PASSES", 1)
        _, [exact, *measured] = measure_formats(backbone, sample, len(sample), PRECISIONS["auto"])
    assert exact.name == "float32"
    return choose_format(measured, PRECISIONS["auto"])
