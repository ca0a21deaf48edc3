from __future__ import annotations

import tracemalloc

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from helpers.photos import draw_scene
from triptych.data.duplicates import describe_looks, group_similar, shrink, stack_shrunk
from triptych.images.pixels import Pixels


def test_plain_areas_of_different_colours_are_not_alike() -> None:
    colours = [(250, 250, 250), (10, 10, 10), (250, 10, 10), (250, 249, 250)]
    shrunk = [shrink(np.full((64, 64, 3), colour, np.uint8)) for colour in colours]
    assert group_similar(stack_shrunk(filter(None, shrunk))) == [(0, 3)]


def test_groups_are_those_of_every_pair_compared_in_full() -> None:
    rng = np.random.default_rng(0)
    scenes: list[Pixels] = [np.asarray(draw_scene(seed).resize((64, 48))) for seed in range(30)]
    scenes += [np.clip(scene + rng.normal(0, 4, scene.shape), 0, 255).astype(np.uint8) for scene in scenes[:9:2]]
    shrunk = stack_shrunk(filter(None, map(shrink, scenes)))
    brightness = shrunk.astype(float).mean(axis=3)
    steps = [np.diff(brightness, axis=axis).reshape(35, -1) for axis in (1, 2)]
    colours = (shrunk - shrunk.mean(axis=(1, 2), keepdims=True)).reshape(35, -1)
    alike = (cosines(colours) + cosines(np.hstack(steps))) / 2
    expected = [(i, j) for i in range(35) for j in range(i + 1, 35) if alike[i, j] >= 0.88]
    assert sorted(group_similar(shrunk)) == expected == [(0, 30), (2, 31), (4, 32), (6, 33), (8, 34)]


def group_all_pairs(shrunk: Pixels) -> list[tuple[int, ...]]:
    """Return the groups that follow from every pair in full, in memory that grows with their number."""
    looks, levels = describe_looks(shrunk), shrunk.astype(np.float32).mean(axis=(1, 2))
    pairs = np.argwhere(np.triu(looks @ looks.T >= 0.88 * 2000.0**2, 1))
    pairs = pairs[np.abs(levels[pairs[:, 0]] - levels[pairs[:, 1]]).mean(axis=1) <= 64.0]
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(shrunk), len(shrunk)))
    _, component = connected_components(graph, directed=False)
    groups = [tuple(np.flatnonzero(component == one).tolist()) for one in dict.fromkeys(component.tolist())]
    return [group for group in groups if len(group) > 1]


def test_groups_of_many_images_are_the_connected_components_of_all_pairs() -> None:
    found = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        images, scenes, channels = int(rng.integers(2, 300)), int(rng.integers(1, 30)), int(rng.choice([1, 3]))
        drawn = rng.integers(0, 256, (scenes, 8, 8, channels)) * rng.uniform(0.05, 1, (scenes, 1, 1, 1))
        light = rng.uniform(-120, 120, (images, 1, 1, channels)) * rng.integers(0, 2)
        seen = drawn[rng.integers(0, scenes, images)] + light + rng.normal(0, rng.uniform(1, 60), (images, 8, 8, 1))
        shrunk = seen.clip(0, 255).astype(np.uint8)
        expected = group_all_pairs(shrunk)
        assert group_similar(shrunk) == expected
        found += len(expected)
    assert found > 100


def test_memory_grows_with_the_images_not_with_the_pairs() -> None:
    """A fixed camera: all of 3,000 pictures look alike, which makes 4,498,500 pairs."""
    rng = np.random.default_rng(0)
    scene = np.add.outer(np.linspace(40, 120, 8), np.linspace(0, 80, 8))[..., None]
    shrunk = (scene + rng.normal(0, 1, (3000, 8, 8, 3))).astype(np.uint8)
    tracemalloc.start()
    groups = group_similar(shrunk)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert groups == [tuple(range(3000))]
    assert peak < 20 * 2**20


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
        shrunk = stack_shrunk(filter(None, map(shrink, frames)))
        assert sorted(group_similar(shrunk)) == [(0, 1), (2, 3), (4, 5)]
