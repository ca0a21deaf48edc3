from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

from triptych.networks.familiar.distances import FILE, Familiarity, load_familiarity, prepare

ROWS = np.random.default_rng(0).permutation(load_digits().data.astype(np.float32))
FITTED = Familiarity.fit(ROWS[:300], ROWS[300:700], (8, 8, 1))


def test_an_embedding_is_measured_as_by_scikit_learn() -> None:
    rows = np.random.default_rng(1).normal(size=(260, 100)).astype(np.float32)
    fitted = Familiarity.fit(rows[:200], rows[200:240])
    pca = PCA(40, svd_solver="full", whiten=True).fit(rows[:200])
    on_axes = pca.transform(rows[240:])
    nearest = NearestNeighbors(n_neighbors=1).fit(pca.transform(rows[:200])).kneighbors(on_axes)[0][:, 0]
    beside = np.square(rows[240:] - pca.inverse_transform(on_axes)).sum(axis=1) / pca.noise_variance_
    np.testing.assert_allclose(fitted.measure(rows[240:]), nearest**2 + beside, rtol=0.02)


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_are_measured_at_length_one_after_a_blur(channels: int) -> None:
    images = np.random.default_rng(2).random((90, 12, 10, channels))
    rows = images.reshape(90, -1)
    fitted = Familiarity.fit(rows[:60], rows[60:80], (12, 10, channels))
    dark = fitted.origin
    smooth = partial(gaussian_filter, sigma=(0, 0.6, 0.5, 0), mode="constant", truncate=99)
    blurred = (smooth(images - dark) / smooth(np.ones_like(images))).reshape(rows.shape)
    expected = blurred / np.linalg.norm(blurred, axis=1, keepdims=True)
    np.testing.assert_allclose(prepare(rows, fitted.shape, dark), expected)
    # Brighter pixels, from the same darkest one, are as far away.
    np.testing.assert_allclose(fitted.measure((rows - dark) * 7.5 + dark), fitted.measure(rows))


def test_one_in_twenty_familiar_images_is_refused_and_foreign_ones_are() -> None:
    assert 0.02 <= FITTED.is_foreign(ROWS[700:]).mean() <= 0.09
    shuffled = ROWS[700:][:, np.random.default_rng(2).permutation(64)]
    assert FITTED.is_foreign(shuffled).mean() > 0.95


def test_it_is_saved_in_few_bytes(tmp_path: Path) -> None:
    assert load_familiarity(tmp_path) is None
    FITTED.save(tmp_path)
    loaded = load_familiarity(tmp_path)
    assert loaded is not None
    assert (loaded.measure(ROWS[:9]) == FITTED.measure(ROWS[:9])).all()
    wide = Familiarity.fit(np.random.default_rng(3).normal(size=(60, 4096)), np.zeros((20, 4096)))
    wide.save(tmp_path)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 800_000


def test_images_that_are_all_equal_are_familiar() -> None:
    fitted = Familiarity.fit(np.full((30, 12), -1.0), np.full((25, 12), -1.0), (2, 2, 3))
    assert not fitted.is_foreign(np.full((1, 12), -1.0)).any()
    assert fitted.is_foreign(np.arange(12.0)[None]).all()


def draw_classes(variation: float, labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return rows, a direction for each class and noise, whose lengths vary by this standard deviation of a factor."""
    rng = np.random.default_rng(4)
    rows = 4 * np.eye(60)[labels] + rng.normal(scale=0.5, size=(len(labels), 60))
    return (rows * np.exp(variation * rng.normal(size=(len(labels), 1)))).astype(np.float32)


@pytest.mark.parametrize(
    ("variation", "images", "classes", "chosen"),
    [(0.0, 160, 2, False), (0.8, 160, 2, True), (0.8, 160, 7, True), (0.8, 160, 1, False), (0.8, 50, 2, False)],
)
def test_held_out_classes_choose_the_measure(variation: float, images: int, classes: int, *, chosen: bool) -> None:
    labels = np.arange(images) % classes
    rows = draw_classes(variation, labels)
    assert Familiarity.fit(rows, rows, (), labels + 3).neighbours == chosen
    assert not Familiarity.fit(rows, rows).neighbours
    assert not Familiarity.fit(rows, rows, (10, 6, 1), labels).neighbours


def test_a_class_of_few_images_is_not_held_out() -> None:
    labels = np.array([0] * 155 + [1] * 5)
    rows = draw_classes(0.8, labels)
    assert not Familiarity.fit(rows, rows, (), labels).neighbours


def test_neighbours_are_measured_at_length_one_as_by_scikit_learn(tmp_path: Path) -> None:
    labels = np.arange(260) % 2
    rows = draw_classes(0.8, labels)
    fitted = Familiarity.fit(rows[:200], rows[200:240], (), labels[:200])
    unit = normalize(rows.astype(np.float64))
    pca = PCA(len(fitted.axes), svd_solver="full").fit(unit[:200])
    near = NearestNeighbors(n_neighbors=5).fit(pca.transform(unit[:200])).kneighbors(pca.transform(unit[240:]))[0]
    beside = np.square(unit[240:] - pca.inverse_transform(pca.transform(unit[240:]))).sum(axis=1) / 4
    np.testing.assert_allclose(fitted.measure(rows[240:]), np.square(near).mean(axis=1) + beside, rtol=0.02)
    fitted.save(tmp_path)
    loaded = load_familiarity(tmp_path)
    assert loaded is not None
    assert (loaded.measure(rows * 3) == fitted.measure(rows * 3)).all()


def test_files_of_earlier_versions_name_no_measure(tmp_path: Path) -> None:
    FITTED.save(tmp_path)
    with np.load(tmp_path / FILE) as arrays:
        earlier = {name: array for name, array in arrays.items() if name != "neighbours"}
    np.savez_compressed(tmp_path / FILE, **earlier)
    loaded = load_familiarity(tmp_path)
    assert loaded is not None
    assert (loaded.is_foreign(ROWS) == FITTED.is_foreign(ROWS)).all()


def refuse(validation: int, groups: NDArray[np.int64] | None, copies: int = 1) -> float:
    """Return the share of familiar images that are refused, with a limit from training images in copies."""
    rng, refused = np.random.default_rng(4), []
    for _ in range(20):
        rows = rng.normal(size=(60 + validation + 400, 12)) * np.linspace(1.0, 3.0, 12) + 5.0
        train, kept, test = np.split(rows, [60, 60 + validation])
        train = np.repeat(train, copies, axis=0) + rng.normal(size=(60 * copies, 12)) * 1e-3
        refused.append(Familiarity.fit(train, kept, groups=groups).is_foreign(test).mean())
    return float(np.mean(refused))


def test_few_validation_images_are_helped_by_folds_of_the_training_images() -> None:
    assert refuse(18, None) == 0.0, "18 images set no limit"
    assert 0.0 < refuse(18, np.arange(60)) < 0.07


def test_no_fold_parts_a_group() -> None:
    """Otherwise images that are nearly alike would make the limit too small."""
    assert refuse(18, np.arange(180), copies=3) > 0.2
    assert 0.0 < refuse(18, np.repeat(np.arange(60), 3), copies=3) < 0.07
    one_group = Familiarity.fit(ROWS[:60], ROWS[60:100], groups=np.zeros(60, dtype=np.int64))
    assert one_group.limit == Familiarity.fit(ROWS[:60], ROWS[60:100]).limit
