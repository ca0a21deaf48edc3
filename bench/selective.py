"""What `triptych predict --error-at-most` promises, and how well foreign images are refused.

The predictions of 1,297 digits and of 10,000 images of MNIST are split at random again and again: the promise is set on
the validation images of each split, and broken if more than its rate of the answered test images are wrong. The promise
covers test sets of twice as many images, about the proportion of the default split; with equally many the sampling
error of the test set is larger than the promise allows for. To show what it costs to choose the epoch on the validation
set, an MLP is trained on digits many times, with the epoch chosen on the very images that then set the promise.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import get_data_path
from measure import Figure, publish
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.neural_network import MLPClassifier

from triptych.evaluation.abstention.promise import draw_independent, find_threshold
from triptych.evaluation.predictions import Predictions
from triptych.networks.backbones import Backbone
from triptych.networks.cuts.nodes import Cut
from triptych.networks.familiar.distances import Familiarity, Features
from triptych.system.paths import data_homes
from triptych.transfer.weights import load_backbone

SECTION, SPLITS, FOREIGN_SPLITS, RATE = "selective", 500, 40, 0.02
# Networks with ImageNet's weights: the file in the folder `weights` of the data, and the cut.
IMAGENET = {
    "mobilenet_v2": ("mobilenet_v2-imagenet-dequantised-ptq-bnstats.pth", Cut()),
    "squeezenet1_1": ("squeezenet1_1-imagenet-fp16.safetensors", Cut("features")),
    "vgg16": ("vgg16-imagenet-conv.safetensors", Cut("features")),
}
LETTERS = "ABCDEFGHKMNPRTWXYabdefhkmnprtwxy"
Rows = NDArray[np.float64]
Scored = tuple[NDArray[np.floating[Any]], NDArray[np.bool_]]


def find_data(name: str) -> Path:
    """Return a file or folder of the data homes."""
    return next(home / name for home in data_homes() if (home / name).exists())


def read_mnist(images: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the first images of MNIST, (n, 28, 28) uint8, and their classes."""
    folder = find_data("mnist/MNIST/raw")
    pixels = np.frombuffer(gzip.decompress((folder / "train-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16)
    labels = np.frombuffer(gzip.decompress((folder / "train-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8)
    return pixels.reshape(-1, 28, 28)[:images], labels[:images]


def score(model: LogisticRegression | MLPClassifier, rows: Rows, labels: NDArray[np.integer]) -> Scored:
    """Return the confidence of each image, and whether its most probable class is right."""
    probabilities = model.predict_proba(rows)
    return probabilities.max(axis=1), probabilities.argmax(axis=1) == labels


def keep_promise(validated: Scored, tested: Scored) -> tuple[bool, float]:
    """Return whether more answers of the test set are wrong than promised, and the coverage."""
    threshold = find_threshold(*validated, RATE)
    answered = np.zeros(len(tested[0]), np.bool_) if threshold is None else tested[0] > threshold
    return bool(answered.any() and (~tested[1][answered]).mean() > RATE), float(answered.mean())


def split_again(name: str, scored: Scored, validation: int, test: int) -> list[Figure]:
    """Split predictions at random."""
    rng, kept = np.random.default_rng(0), []
    for _ in range(SPLITS):
        order = rng.permutation(len(scored[0]))
        parts = [(scored[0][rows], scored[1][rows]) for rows in (order[:validation], order[validation:][:test])]
        kept.append(keep_promise(*parts))
    return _report(f"{name}, {validation} validation and {test} test images", kept)


def draw_again(name: str, scored: Scored, validation: int) -> Figure:
    """Draw validation images with replacement from all, whose errors are known."""
    rng, broken = np.random.default_rng(0), []
    for _ in range(SPLITS):
        rows = rng.integers(0, len(scored[0]), validation)
        broken.append(keep_promise((scored[0][rows], scored[1][rows]), scored)[0])
    figure = f"promise of 2 % broken: {name}, {validation} validation images drawn from a known population"
    return _figure(figure, float(np.mean(broken)), 0.05, at_most=True)


def shoot_bursts(
    model: LogisticRegression, images: NDArray[np.uint8], labels: NDArray[np.uint8], frames: int
) -> Scored:
    """Return the score of each frame of bursts of images: brighter or darker, and noisy."""
    rng, shot = np.random.default_rng(0), []
    for _ in range(frames):
        lit = images * rng.uniform(0.85, 1.15, (len(images), 1, 1))
        noisy = np.clip(lit + rng.normal(0.0, 16.0, images.shape), 0, 255).astype(np.uint8)
        shot.append(score(model, scale(noisy), labels))
    confidence, correct = (np.stack(parts, axis=1) for parts in zip(*shot, strict=True))  # (bursts, frames)
    return confidence, correct


def split_bursts(name: str, shot: Scored, sizes: NDArray[np.int64], validation: int, test: int) -> list[Figure]:
    """Split bursts at random, of which the first frames are taken, a number for each burst."""
    rng, kept = np.random.default_rng(0), []
    counted: list[bool] = []
    taken = np.arange(shot[0].shape[1]) < sizes[:, None]
    for _ in range(SPLITS):
        order = rng.permutation(len(sizes))
        parts = [np.sort(order[:validation]), np.sort(order[validation:][:test])]
        frames = [(shot[0][rows][taken[rows]], shot[1][rows][taken[rows]]) for rows in parts]
        groups = np.repeat(parts[0], sizes[parts[0]])
        confidence, correct = frames[0]
        one_of_each = draw_independent(
            Predictions(groups, (~correct).astype(np.int64), confidence[:, None], groups=groups)
        )
        kept.append(keep_promise(one_of_each, frames[1]))
        if len(counted) < SPLITS // 5:
            counted.append(keep_promise(frames[0], frames[1])[0])
    print(f"{name}: broken in {np.mean(counted):.3f} of the splits if each frame is counted", flush=True)
    return _report(f"{name}, {validation} validation and {test} test bursts", kept)


def choose_epochs(draws: int) -> list[Figure]:
    """Train on digits, with the epoch chosen on the validation images that also set the promise."""
    digits, kept = load_digits(), []
    rows, labels = digits.data / 8 - 1, digits.target
    for seed in range(draws):
        order = np.random.default_rng(seed).permutation(len(rows))
        train, validation, test = np.split(order, [900, 1300])
        model = MLPClassifier((32,), random_state=seed, learning_rate_init=0.01)
        epochs: list[tuple[Scored, Scored]] = []
        for _ in range(20):
            model.partial_fit(rows[train], labels[train], classes=np.arange(10))
            parts = [score(model, rows[part], labels[part]) for part in (validation, test)]
            epochs.append((parts[0], parts[1]))
        # The first of the best.
        kept.append(keep_promise(*max(epochs, key=lambda epoch: float(epoch[0][1].mean()))))
    return _report("digits, epoch chosen on the 400 validation images", kept)


def _report(name: str, kept: list[tuple[bool, float]]) -> list[Figure]:
    broken, coverage = (np.array(column, dtype=np.float64) for column in zip(*kept, strict=True))
    figure = f"promise of 2 % broken: {name}, {len(kept)} splits"
    return [_figure(figure, float(broken.mean()), 0.05, at_most=True), _summarise(f"coverage: {name}", coverage, 0.0)]


def draw_letters(side: int) -> NDArray[np.uint8]:
    """Return letters in the fonts of matplotlib, white on black."""
    found = []
    for font in sorted(Path(get_data_path(), "fonts/ttf").glob("DejaVu*.ttf")):
        for letter in LETTERS:
            image = Image.new("L", (84, 84))
            ImageDraw.Draw(image).text((42, 42), letter, fill=255, font=ImageFont.truetype(font, 60), anchor="mm")
            found.append(np.asarray(image.resize((side, side))))
    return np.stack(found)


def read_photos(side: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return gray photos of ants and bees, (153, side, side), and their classes."""
    files = sorted(find_data("hymenoptera/val").rglob("*.jpg"))
    return np.stack([np.asarray(Image.open(one).convert("L").resize((side, side))) for one in files]), label(files)


def label(files: list[Path]) -> NDArray[np.int64]:
    """Return 1 for files in a folder of bees, otherwise 0."""
    return np.array([one.parent.name == "bees" for one in files]).astype(np.int64)


def draw_pages() -> list[NDArray[np.uint8]]:
    """Return blank pages of several sizes, white and nearly white."""
    sizes = [(300, 300), (480, 640), (1754, 1240), (32, 32), (600, 800)]
    return [np.full((*size, 3), shade, np.uint8) for size in sizes for shade in (255, 248, 240)]


def scale(images: NDArray[np.uint8]) -> Rows:
    """Return pixels as networks take them, (n, inputs)."""
    return images.reshape(len(images), -1) / 127.5 - 1


def embed(images: Sequence[NDArray[np.uint8]] | NDArray[np.uint8], backbone: Backbone) -> NDArray[np.float32]:
    """Return the embeddings of a pretrained network, (n, dimension)."""
    batches = (images[start : start + 32] for start in range(0, len(images), 32))
    return np.concatenate([backbone.embed([np.atleast_3d(image) for image in batch]) for batch in batches])


def refuse_foreign(
    name: str,
    own: tuple[Features, NDArray[np.integer]],
    foreign: dict[str, Features],
    parts: tuple[int, int],
    shape: tuple[int, ...] = (),
) -> list[Figure]:
    """Measure the distances of images of another kind, with random training and validation sets of a size."""
    familiar, areas, refused, neighbours = [], [], [], []
    for seed in range(FOREIGN_SPLITS):
        order = np.random.default_rng(seed).permutation(len(own[0]))
        train, validation, test = (own[0][rows] for rows in np.split(order, np.cumsum(parts)))
        groups = None if shape else np.arange(parts[0])
        fitted = Familiarity.fit(train, validation, shape, own[1][order[: parts[0]]], groups)
        neighbours.append(fitted.neighbours)
        distances, strange = fitted.measure(test), [fitted.measure(one) for one in foreign.values()]
        familiar.append((distances > fitted.limit).mean())
        refused.append([(one > fitted.limit).mean() for one in strange])
        areas.append([_area(distances, one) for one in strange])
    print(f"{name}: {np.mean(neighbours):.3f} of the splits choose the nearest neighbours", flush=True)
    share = float(np.mean(familiar))
    figures = [
        Figure(SECTION, f"{name}: familiar images refused", share, min(familiar), max(familiar), 0.055, True, 0)  # noqa: FBT003
    ]
    for other, area, few in zip(foreign, np.transpose(areas), np.transpose(refused), strict=True):
        figures += [
            _summarise(f"{name}: AUROC of {other}", area, 0.95),
            _summarise(f"{name}: {other} refused", few, 0.8),
        ]
    return figures


def _area(familiar: Rows, foreign: Rows) -> float:
    labels = np.repeat([0, 1], [len(familiar), len(foreign)])
    return float(roc_auc_score(labels, np.concatenate([familiar, foreign])))


def _figure(name: str, value: float, target: float, *, at_most: bool = False) -> Figure:
    return Figure(SECTION, name, value, value, value, target, at_most, 0)


def _summarise(name: str, values: Rows, target: float) -> Figure:
    return Figure(SECTION, name, float(np.median(values)), float(values.min()), float(values.max()), target, seed=0)


def measure_promises() -> list[Figure]:
    """Return how often the promise is broken."""
    digits, (large, classes) = load_digits(), read_mnist(12_000)
    rows, flat = digits.data / 8 - 1, scale(large)
    on_digits = LogisticRegression(C=0.01, max_iter=500).fit(rows[:500], digits.target[:500])
    on_mnist = LogisticRegression(C=0.001, max_iter=100).fit(flat[:2000], classes[:2000])
    small = score(on_digits, rows[500:], digits.target[500:])
    many = score(on_mnist, flat[2000:], classes[2000:])
    return [
        *split_again("digits", small, 300, 997),
        *split_again("digits", small, 412, 885),
        draw_again("digits", small, 300),
        *split_again("MNIST", many, 2000, 8000),
        *split_again("MNIST", many, 3180, 6820),
        *split_again("MNIST", many, 3000, 3000),
        draw_again("MNIST", many, 2000),
        *measure_bursts(on_mnist, large[2000:10_000], classes[2000:10_000]),
        *choose_epochs(100),
    ]


def measure_bursts(model: LogisticRegression, images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> list[Figure]:
    """Return how often the promise is broken where images are bursts of frames, of one or of many lengths."""
    shot = shoot_bursts(model, images, labels, 20)
    lengths = {f"bursts of {frames}": np.full(len(images), frames) for frames in (5, 10, 20)}
    lengths["bursts of 1 to 20"] = np.random.default_rng(1).integers(1, 21, len(images))
    return [
        figure
        for name, sizes in lengths.items()
        for figure in split_bursts(f"MNIST in {name}", shot, sizes, 2000, 4000)
    ]


def measure_distances() -> list[Figure]:
    """Return how well foreign images are recognised in pixels, and in embeddings of the bundled network."""
    digits, (large, classes) = load_digits(), read_mnist(6000)
    small = (digits.images * 255 / 16).astype(np.uint8)
    shrunk = np.stack([np.asarray(Image.fromarray(one).resize((8, 8), Image.Resampling.BOX)) for one in large[:1000]])
    enlarged = np.stack([np.asarray(Image.fromarray(one).resize((28, 28))) for one in small])
    letters, (photos, kinds) = draw_letters(28), read_photos(224)
    to_digits = {"MNIST": shrunk, "letters": draw_letters(8), "photos": read_photos(8)[0]}
    to_mnist = {"digits": enlarged, "letters": letters, "photos": read_photos(28)[0]}
    bundled = load_backbone("shufflenet_v2_x0_5", "bundled")
    drawn = {"MNIST": embed(large[:400], bundled), "letters": embed(letters, bundled)}
    on_digits, on_photos = embed(small, bundled), embed(photos, bundled)
    target = digits.target
    return [
        *refuse_foreign("digits", (scale(small), target), _scale_all(to_digits), (1005, 252), (8, 8, 1)),
        *refuse_foreign("MNIST", (scale(large), classes), _scale_all(to_mnist), (2000, 1000), (28, 28, 1)),
        *refuse_foreign("head on digits", (on_digits, target), {**drawn, "photos": on_photos}, (1005, 252)),
        *refuse_foreign("head on photos", (on_photos, kinds), {**drawn, "digits": on_digits}, (80, 39)),
    ]


def measure_imagenet() -> list[Figure]:
    """Return how well images are recognised that are foreign to photos, in embeddings of networks for ImageNet."""
    small, (large, _) = (load_digits().images[:100] * 255 / 16).astype(np.uint8), read_mnist(100)
    files = sorted(find_data("hymenoptera").rglob("*.jpg"))
    photos = [np.asarray(Image.open(one).convert("RGB")) for one in files]
    strange = {"MNIST": large, "letters": draw_letters(28)[::4], "digits": small, "blank pages": draw_pages()}
    figures: list[Figure] = []
    for name, (file, cut) in IMAGENET.items():
        backbone = load_backbone(name, str(find_data(f"weights/{file}")), cut)
        foreign: dict[str, Features] = {other: embed(images, backbone) for other, images in strange.items()}
        own = embed(photos, backbone), label(files)
        figures += refuse_foreign(f"head of {name} on photos", own, foreign, (194, 51))
    return figures


def _scale_all(images: dict[str, NDArray[np.uint8]]) -> dict[str, Features]:
    return {name: scale(some) for name, some in images.items()}


if __name__ == "__main__":
    publish(
        SECTION,
        [*measure_promises(), *measure_distances(), *measure_imagenet()],
        "splits of real predictions and images; seed 0",
    )
