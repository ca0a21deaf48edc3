from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from helpers.photos import draw_scene
from triptych.data.duplicates import describe_looks, group_similar, shrink
from triptych.images.pixels import Pixels


def test_plain_areas_of_different_colours_are_not_alike() -> None:
    colours = [(250, 250, 250), (10, 10, 10), (250, 10, 10), (250, 249, 250)]
    shrunk = [shrink(np.full((64, 64, 3), colour, np.uint8)) for colour in colours]
    assert group_similar(np.stack([picture for picture in shrunk if picture is not None])) == [(0, 3)]


def test_groups_are_those_of_every_pair_compared_in_full() -> None:
    rng = np.random.default_rng(0)
    scenes: list[Pixels] = [np.asarray(draw_scene(seed).resize((64, 48))) for seed in range(30)]
    scenes += [np.clip(scene + rng.normal(0, 4, scene.shape), 0, 255).astype(np.uint8) for scene in scenes[:9:2]]
    shrunk = np.stack([picture for scene in scenes if (picture := shrink(scene)) is not None])
    brightness = shrunk.astype(float).mean(axis=3)
    steps = [np.diff(brightness, axis=axis).reshape(35, -1) for axis in (1, 2)]
    colours = (shrunk - shrunk.mean(axis=(1, 2), keepdims=True)).reshape(35, -1)
    alike = (cosines(colours) + cosines(np.hstack(steps))) / 2
    expected = [(i, j) for i in range(35) for j in range(i + 1, 35) if alike[i, j] >= 0.88]
    assert sorted(group_similar(shrunk)) == expected == [(0, 30), (2, 31), (4, 32), (6, 33), (8, 34)]


def cosines(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return (rows @ rows.T) / np.outer(np.linalg.norm(rows, axis=1), np.linalg.norm(rows, axis=1))


def test_all_machines_find_the_same_images_similar() -> None:
    """The products are whole numbers below 2**24, which float32 holds exactly."""
    shrunk = np.random.default_rng(0).integers(0, 256, (50, 8, 8, 3), dtype=np.uint8)
    looks = describe_looks(shrunk)
    products = looks @ looks.T
    np.testing.assert_array_equal(products, looks.astype(np.int64) @ looks.astype(np.int64).T)
    assert np.abs(products).max() < 2**24


def test_the_frames_of_a_burst_look_alike_whatever_the_size_of_the_photo() -> None:
    rng = np.random.default_rng(0)
    for size in ((48, 40), (160, 120), (1600, 1200)):
        frames = [
            np.asarray(draw_scene(scene, 48, 64).resize(size).crop((int(rng.integers(3)), 0, size[0], size[1] - 1)))
            for scene in range(3)
            for _ in range(2)
        ]
        shrunk = np.stack([picture for frame in frames if (picture := shrink(frame)) is not None])
        assert sorted(group_similar(shrunk)) == [(0, 1), (2, 3), (4, 5)]
