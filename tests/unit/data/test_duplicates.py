from __future__ import annotations

import numpy as np

from helpers.photos import draw_scene
from triptych.data.duplicates import group_similar, shrink_for_hash
from triptych.images.pixels import Pixels


def test_plain_areas_of_different_colours_are_not_alike() -> None:
    colours = [(250, 250, 250), (10, 10, 10), (250, 10, 10), (250, 249, 250)]
    shrunk = [shrink_for_hash(np.full((64, 64, 3), colour, np.uint8)) for colour in colours]
    assert group_similar(np.stack([picture for picture in shrunk if picture is not None])) == [(0, 3)]


def test_groups_are_those_of_every_pair_compared_in_full() -> None:
    rng = np.random.default_rng(0)
    scenes: list[Pixels] = [np.asarray(draw_scene(seed).resize((64, 48))) for seed in range(30)]
    scenes += [np.clip(scene + rng.normal(0, 4, scene.shape), 0, 255).astype(np.uint8) for scene in scenes[:9:2]]
    shrunk = np.stack([picture for scene in scenes if (picture := shrink_for_hash(scene)) is not None])
    bits = np.diff(shrunk.astype(int).sum(axis=3), axis=2) > 0
    expected = [(i, j) for i in range(35) for j in range(i + 1, 35) if (bits[i] != bits[j]).sum() <= 26]
    assert sorted(group_similar(shrunk)) == expected == [(0, 30), (2, 31), (4, 32), (6, 33), (8, 34)]
