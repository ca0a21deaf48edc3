"""Planted wrong labels: how many of 5 % flipped at random are found, and how many of those found are flipped."""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from examples import find_photos
from measure import Figure, publish
from numpy.typing import NDArray
from photo_sets import write_digits_on_paper, write_digits_on_photos, write_scenes

from triptych.config.resolve import resolve_config
from triptych.data.boards import BoardData, load_board, prepare_board
from triptych.evaluation.calibration import apply_temperature, fit_temperature
from triptych.evaluation.labels.judge import judge_labels
from triptych.panels.answers.labels import provide_features
from triptych.transfer.discriminant import Features, discriminate_out_of_fold

SECTION, RATE, NETWORK = "labels", 0.05, "mobilenet_v2"
RUNS = 3
Labels = NDArray[np.int64]


def count_confidently(features: Features, labels: Labels, classes: int, seed: int) -> Labels:
    """Return the images off the diagonal of the confident joint (Northcutt et al. 2021) on the same predictions.

    An image counts as a class if its probability is at least the mean probability that images labelled with the class
    have for it; of several such classes, as the most probable one.
    """
    logits = discriminate_out_of_fold(features, labels, classes=classes, seed=seed).logits.astype(np.float64)
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    scaled = apply_temperature(probabilities, fit_temperature(labels, probabilities))
    given = scaled[np.arange(len(labels)), labels]
    thresholds = np.bincount(labels, given, classes) / np.bincount(labels, minlength=classes)
    confident = np.where(scaled >= thresholds, scaled, -1.0)  # (n, classes)
    return np.flatnonzero((confident.max(axis=1) > given) & (confident.argmax(axis=1) != labels))


def measure_once(data: BoardData, features: Features, seed: int) -> list[float]:
    """Flip labels; return precision and recall of what is found, and of confident learning's counts."""
    rng = np.random.default_rng(seed)
    classes = len(data.prepared.classes)
    flipped = rng.random(len(data.labels)) < RATE
    labels = np.where(flipped, (data.labels + rng.integers(1, classes, len(data.labels))) % classes, data.labels)
    found = np.array([one.index for one in judge_labels(replace(data, labels=labels), features).suspects], dtype=int)
    counted = count_confidently(features, labels, classes, data.prepared.config.split.seed)
    return [
        figure
        for rows in (found, counted)
        for figure in (float(flipped[rows].mean()) if len(rows) else 1.0, float(flipped[rows].sum() / flipped.sum()))
    ]


def measure(name: str, source: str, network: str, targets: tuple[float, float], seeds: range) -> list[Figure]:
    """Return the figures of a data set, the median over several seeds.

    Args:
        name: of the data set, for people.
        source: as for `--data`.
        network: whose embeddings are used; empty: gradients.
        targets: for precision and recall.
        seeds: of the flips.
    """
    settings = [f"transfer.weights={find_photos()[1]}"]
    [board] = resolve_config("photos", data=source, panels=[NETWORK], settings=settings).boards
    data = load_board(prepare_board(board))
    features = provide_features(data, network)
    kept = np.array([measure_once(data, features, seed) for seed in seeds]).T
    titles = ("precision", "recall")
    for title, values in zip(titles, kept[2:], strict=True):
        print(f"{name}, confident learning's counts: {title} {np.median(values):.3f}", flush=True)
    return [
        Figure(SECTION, f"{name}, 5 % flipped: {title}", float(np.median(values)), values.min(), values.max(), target)
        for title, values, target in zip(titles, kept[:2], targets, strict=True)
    ]


def time_command(name: str, *arguments: str) -> Figure:
    """Return the CPU seconds of the whole command from a filled store, everything included."""
    seconds = []
    for _ in range(1 + RUNS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-m", "triptych", "check", *arguments, "--labels", "--json"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603 - our own
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    seconds = seconds[1:]  # the first one fills the store
    figure = f"check --labels, {name}, from a filled store: CPU seconds"
    return Figure(SECTION, figure, float(np.median(seconds)), min(seconds), max(seconds), 5.0, at_most=True)


def main(seeds: range) -> None:
    """Measure all data sets; the photo sets of ten and more classes are made for it."""
    photos, weights = find_photos()
    files = sorted(photos.glob("*/*/*.jpg"))
    network = ("--panel", NETWORK, "--set", f"transfer.weights={weights}")
    small, large = (0.95, 0.75), (0.8, 0.7)
    with tempfile.TemporaryDirectory() as folder:
        scenes, paper, blended = (
            Path(folder, name) for name in ("crops of 16 photos", "digits on paper", "digits on photos")
        )
        write_scenes(scenes, files)
        [board] = resolve_config("digits", data="mnist").boards
        mnist = load_board(prepare_board(board))
        write_digits_on_paper(paper, mnist.pixels, mnist.labels)
        write_digits_on_photos(blended, files, mnist.pixels, mnist.labels)
        jobs: list[Callable[[], list[Figure]]] = [
            lambda: measure("digits", "digits", "", small, seeds),
            lambda: measure("MNIST", "mnist", "", small, seeds),
            lambda: measure(scenes.name, str(scenes), NETWORK, large, seeds),
            lambda: measure(paper.name, str(paper), NETWORK, large, seeds),
            lambda: measure(blended.name, str(blended), NETWORK, large, seeds),
            lambda: [time_command("digits", "digits"), time_command("MNIST", "mnist")],
            lambda: [time_command(f"1,500 {blended.name}", str(blended), *network)],
        ]
        figures = [figure for job in jobs for figure in job()]
    publish(SECTION, figures, f"{len(seeds)} seeds")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    main(range(parser.parse_args().seeds))
