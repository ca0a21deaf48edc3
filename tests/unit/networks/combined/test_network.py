from __future__ import annotations

from typing import Any

import numpy as np

from helpers.panels import build_combined


def test_the_embeddings_of_each_network_are_side_by_side() -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, size=(height, 50, 3), dtype=np.uint8) for height in (40, 60, 80)]
    network: Any = build_combined(rng)
    embeddings = network.extract(images)
    for backbone, part in zip(network.backbones, np.split(embeddings, [1024], axis=1), strict=True):
        np.testing.assert_array_equal(part, backbone.embed(images))
    np.testing.assert_array_equal(network.predict_images(images), network.head.predict_proba(embeddings))
