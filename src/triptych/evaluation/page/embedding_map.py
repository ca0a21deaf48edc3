"""The images of a board on a plane, by the two directions in which their embeddings vary most."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from triptych.data.boards import BoardData
from triptych.evaluation.page.pictures import TILES_PER_ROW, embed_tiles
from triptych.evaluation.predictions import Predictions
from triptych.transfer.discriminant import Features

# The points of a map, and the longest side of the picture of each.
MOST_POINTS, SIDE = 800, 32
# The size of the map in its own units.
WIDTH, HEIGHT, MARGIN = 1000, 750, 20


def draw_map(
    data: BoardData, features: Features, tested: Predictions, suspects: Collection[int], picture_bytes: int
) -> dict[str, Any]:
    """Return the map of some images: of those that are suspected, then test images, then others, drawn by a fixed seed.

    Args:
        data: the board.
        features: (n, dimension) float32, of its images.
        tested: the predictions of the best panel.
        suspects: the images whose labels are probably wrong.
        picture_bytes: of the small pictures; if they do not fit, the map has none.

    Returns:
        groups: paths of points with their class, part, whether the best panel is wrong, and whether they are suspected.
        names: of the images, in the order of the points.
        tiles: their pictures in one, empty if they do not fit; and the number of them in a row.
        explained: the share of the variance that the map shows.
    """
    indices = _choose(data, tested, suspects)
    places, explained = _project(np.asarray(features[indices], dtype=np.float64))
    wrong = set(tested.indices[~tested.correct].tolist())
    parts = data.split.parts()[indices]
    keys = [
        (int(data.labels[index]), str(part), index in wrong, index in suspects)
        for index, part in zip(indices.tolist(), parts, strict=True)
    ]
    # Points of one kind are one path; those that matter are drawn last, over the others.
    order = sorted(range(len(keys)), key=lambda row: (keys[row][3], keys[row][2], keys[row][1] == "test", keys[row]))
    groups: dict[tuple[int, str, bool, bool], list[str]] = {}
    for row in order:
        groups.setdefault(keys[row], []).append("M{} {}h0".format(*places[row]))
    tiles = embed_tiles(np.asarray(data.pixels[indices[order]]), SIDE)
    return {
        "groups": [
            {"class": number, "part": part, "wrong": error, "suspected": suspected, "path": "".join(path)}
            for (number, part, error, suspected), path in groups.items()
        ],
        "names": [data.name_image(int(indices[row])) for row in order],
        "tiles": tiles if len(tiles) <= picture_bytes else "",
        "tiles_per_row": TILES_PER_ROW,
        "explained": explained,
        "all": len(data.labels) == len(indices),
    }


def _choose(data: BoardData, tested: Predictions, suspects: Collection[int]) -> NDArray[np.int64]:
    """Return the images that a map shows."""
    rng = np.random.default_rng(0)
    others = (tested.indices, data.split.train, data.split.validation)
    order = np.concatenate([sorted(suspects), *(rng.permutation(part) for part in others)]).astype(np.int64)
    _, places = np.unique(order, return_index=True)
    chosen: NDArray[np.int64] = order[np.sort(places)][:MOST_POINTS]
    return chosen


def _project(features: NDArray[np.float64]) -> tuple[NDArray[np.int64], float]:
    """Return the places of points on the map, (n, 2), by principal components, and the share of the variance on it."""
    found, explained = np.zeros((len(features), 2)), 0.0
    if np.ptp(features, axis=0).any():  # otherwise all points are one
        most = min(features.shape)
        components = PCA(min(2, most), svd_solver="arpack" if most > 2 else "full", random_state=0)
        found[:, : components.n_components] = components.fit_transform(features)
        explained = float(components.explained_variance_ratio_.sum())
    # One scale for both axes, so that distances are what they look like.
    span = np.maximum(np.ptp(found, axis=0), 1e-9)
    scale = min((WIDTH - 2 * MARGIN) / span[0], (HEIGHT - 2 * MARGIN) / span[1])
    middle = (found.max(axis=0) + found.min(axis=0)) / 2
    places = np.rint((found - middle) * scale * [1, -1] + [WIDTH / 2, HEIGHT / 2]).astype(np.int64)
    return places, explained


def describe_map(drawn: Mapping[str, Any]) -> str:
    """Return what a map shows, in one sentence."""
    which = "All images" if drawn["all"] else f"{len(drawn['names']):,} images"
    share = f"{100 * drawn['explained']:.0f} % of the variance"
    return f"{which} by the first two principal components of their features, with {share}"
