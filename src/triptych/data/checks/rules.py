"""The checks of a data set: one function for each kind of finding."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import sqrt
from pathlib import Path
from typing import Any

from scipy.stats import binomtest, norm

from triptych.data.checks.findings import Example, Finding, ImageName, Subject
from triptych.data.checks.inspection import TRAITS
from triptych.data.duplicates import SMALLEST_COMPARED_PIXELS, find_leaked, spans
from triptych.data.folders import describe_twins, explain_empty, find_twins
from triptych.images.depth import explain_dark, explain_mixed, merge_highest
from triptych.images.sources import FileImages
from triptych.images.walk import REASONS, describe_left_out

FEW_TRAINING_IMAGES = 20
STRONG_IMBALANCE = 5.0
# Side of the crop that most pretrained networks take, after scaling the shorter side to 256.
CROP_PIXELS = 224
ASSUMED_ACCURACY = 0.9
LEVEL, POWER = 0.05, 0.8
# Shares of the images that only one of two models classifies correctly.
DISAGREEMENTS = (0.02, 0.05, 0.1)
KEEP_TOGETHER = (
    "in different parts, which may inflate every accuracy: inspect them, or keep each group in one part with "
    "split.group_by=similar"
)


def find_unreadable(subject: Subject) -> list[Finding]:
    """Return the files that cannot be read."""
    examples = tuple(
        Example((subject.name_image(index),), inspection.problem)
        for index, inspection in enumerate(subject.inspections)
        if inspection.problem
    )
    message = f"{_count(examples, 'image')} cannot be read: replace or remove the files"
    return [Finding("unreadable", message, examples)] if examples else []


def find_dark(subject: Subject) -> list[Finding]:
    """Return whether the 16-bit images would become nearly black."""
    problem = explain_dark(merge_highest(found.highest for found in subject.inspections), subject.white_level)
    examples = tuple(
        Example((subject.name_image(index),), ", ".join(f"at most {value:,}" for value in found.highest.values()))
        for index, found in enumerate(subject.inspections)
        if found.highest
    )
    return [Finding("dark", problem, examples)] if problem else []


def find_mixed_depths(subject: Subject) -> list[Finding]:
    """Return whether the 16-bit images of some classes are much darker than those of others."""
    highest: dict[str, list[int]] = {}
    for label, found in zip(subject.dataset.labels, subject.inspections, strict=True):
        if found.highest:
            highest.setdefault(subject.dataset.classes[int(label)], []).extend(found.highest.values())
    problem = explain_mixed(highest, subject.white_level)
    return [Finding("mixed_depth", problem)] if problem else []


def find_empty_classes(subject: Subject) -> list[Finding]:
    """Return the class directories without images."""
    return [Finding("empty_class", explain_empty(directory)) for directory in subject.empty]


def find_split_problem(subject: Subject) -> list[Finding]:
    """Return why the data cannot be split, unless an empty class is the reason."""
    if not subject.split_problem or subject.empty:
        return []
    if subject.split_seed is not None:
        message = f"{subject.split_problem}; the parts shown here are those of split.seed={subject.split_seed}"
        return [Finding("split_seed", message)]
    return [Finding("no_split", subject.split_problem)]


def find_leaks(subject: Subject) -> list[Finding]:
    """Return the images that are in several parts of the split."""
    groups = [group for group in subject.equal if subject.crosses(group)]
    if not groups or subject.parts is None:
        return []
    leaked = len(find_leaked(groups, subject.parts))
    message = (
        f"{_count(groups, 'image')} with the same pixels in different parts; "
        f"{_count(range(leaked), 'test image')} {_verb(leaked)} also in train or validation, "
        f"which inflates every accuracy: keep one copy of each"
    )
    return [Finding("same_in_parts", message, subject.name_groups(groups))]


def find_conflicts(subject: Subject) -> list[Finding]:
    """Return the images that are in several classes."""
    groups = [group for group in subject.equal if spans(group, subject.dataset.labels)]
    message = f"{_count(groups, 'image')} with the same pixels in different classes: keep the correct one"
    return [Finding("same_in_classes", message, subject.name_groups(groups))] if groups else []


def find_similar(subject: Subject) -> list[Finding]:
    """Return the images that look alike: a warning across parts, a note within one part."""
    if not any(inspection.shrunk is not None for inspection in subject.inspections):
        message = (
            f"near duplicates were not searched for: images of less than {SMALLEST_COMPARED_PIXELS} pixels look alike "
            f"without being copies"
        )
        return [Finding("similar_not_checked", message)] if subject.inspections else []
    across = [group for group in subject.similar if subject.crosses(group)]
    within = [group for group in subject.similar if not subject.crosses(group)]
    rows = (("similar_in_parts", across, KEEP_TOGETHER), ("similar", within, subject.within))
    return [
        Finding(kind, f"{_count(groups, 'group')} of images that look alike {where}", subject.name_groups(groups))
        for kind, groups, where in rows
        if groups
    ]


def find_repeats(subject: Subject) -> list[Finding]:
    """Return the images that occur several times in one part."""
    groups = [group for group in subject.equal if not subject.crosses(group)]
    message = f"{_count(groups, 'image')} more than once, with the same pixels, {subject.within}: each copy counts"
    return [Finding("same", message, subject.name_groups(groups))] if groups else []


def find_small_classes(subject: Subject) -> list[Finding]:
    """Return the classes with few training images."""
    if subject.parts is None:
        return []
    counts = subject.count_classes("train").tolist()
    examples = tuple(
        Example((), f"{name}: {images} in train")
        for name, images in zip(subject.dataset.classes, counts, strict=True)
        if images < FEW_TRAINING_IMAGES
    )
    message = (
        f"{_count(examples, 'class')} with fewer than {FEW_TRAINING_IMAGES} training images: "
        f"their accuracy depends on chance, add images"
    )
    return [Finding("few_images", message, examples)] if examples else []


def find_imbalance(subject: Subject) -> list[Finding]:
    """Return whether the classes are imbalanced, and the accuracy of always predicting the largest one."""
    counts = subject.count_classes()
    if counts.min() == 0 or counts.max() < STRONG_IMBALANCE * counts.min():
        return []
    most, least = int(counts.argmax()), int(counts.argmin())
    names = subject.dataset.classes
    message = (
        f"class {names[most]!r} has {counts[most] / counts[least]:.0f} times the images of {names[least]!r} "
        f"({counts[most]} and {counts[least]}): always predicting {names[most]!r} is correct for "
        f"{100 * counts[most] / counts.sum():.0f} %, so compare macro F1 too, and try class_weights=balanced"
    )
    return [Finding("imbalance", message)]


def find_small_images(subject: Subject) -> list[Finding]:
    """Return the images that are smaller than the input of pretrained networks."""
    readable = [(i, found) for i, found in enumerate(subject.inspections) if not found.problem]
    small = [(i, found) for i, found in readable if min(found.height, found.width) < CROP_PIXELS]
    if not small:
        return []
    files = isinstance(subject.dataset.images, FileImages)
    examples = [Example((subject.name_image(i),), f"{found.width} x {found.height}") for i, found in small if files]
    least = min(small, key=lambda pair: min(pair[1].height, pair[1].width))[1]
    message = (
        f"{len(small):,} of {len(readable):,} images {_verb(len(small))} smaller than the {CROP_PIXELS} pixels of "
        f"pretrained networks' input, the smallest {least.width} x {least.height}: scaling up adds no detail"
    )
    return [Finding("small_images", message, tuple(examples), len(small))]


def find_traits(subject: Subject) -> list[Finding]:
    """Return the files that are not plain 8-bit RGB, and how they are read."""
    findings = []
    for name, trait in TRAITS.items():
        having = [index for index, found in enumerate(subject.inspections) if name in found.traits]
        examples = tuple(Example((subject.name_image(index),)) for index in having)
        if examples:
            findings.append(
                Finding(name, f"{_count(examples, 'image')} {_agree(len(examples), trait.reading)}", examples)
            )
    return findings


def find_left_out(subject: Subject) -> list[Finding]:
    """Return the files and folders that are not read, by reason."""
    root, left_out = subject.dataset.root, subject.dataset.left_out
    findings = []
    for reason in REASONS:
        found = [one for one in left_out if one.reason == reason]
        for message in describe_left_out(found, root or Path()):
            names = (ImageName(_relate(one.path, root), "" if one.top == root else one.top.name, "") for one in found)
            examples = tuple(Example((name,)) for name in names)
            findings.append(Finding(f"left_out_{reason}", message, examples))
    return findings


def _relate(path: Path, root: Path | None) -> str:
    return path.relative_to(root).as_posix() if root else str(path)


def find_alike_classes(subject: Subject) -> list[Finding]:
    """Return the classes whose names differ in case or Unicode form only."""
    twins = find_twins(subject.dataset.classes) if subject.dataset.grows else []
    return [Finding("classes_alike", describe_twins(names)) for names in twins]


def find_notes(subject: Subject) -> list[Finding]:
    """Return how the data was read."""
    return [Finding("reading", note) for note in subject.dataset.notes]


def find_resolution(subject: Subject) -> list[Finding]:
    """Return how small a difference in accuracy the test set can show."""
    images = 0 if subject.parts is None else int((subject.parts == "test").sum())
    if not images:
        return []
    return [Finding("resolution", explain_resolution(images))]


def explain_resolution(images: int) -> str:
    """Return how precise an accuracy on this many test images is, and what difference they can show, in words.

    >>> explain_resolution(540).partition("; ")[2].partition(" points")[0]
    'two models that disagree on 2, 5 and 10 % of them must differ by 1.7, 2.7 and 3.8'
    """
    low, high = binomtest(round(ASSUMED_ACCURACY * images), images).proportion_ci(1 - LEVEL, method="wilson")
    text = (
        f"with {images} test images, an accuracy near {100 * ASSUMED_ACCURACY:g} % is known to within about "
        f"{50 * (high - low):.1f} points (Wilson's {100 * (1 - LEVEL):g} % interval); "
    )
    differences = {share: found for share in DISAGREEMENTS if (found := find_difference(images, share))}
    if not differences:
        most = f"{100 * DISAGREEMENTS[-1]:g} %"
        return f"{text}they can show no difference between two models that disagree on up to {most} of them"
    shares, points = (
        _join([_round(100 * value) for value in values]) for values in (differences.keys(), differences.values())
    )
    return (
        f"{text}two models that disagree on {shares} % of them must differ by {points} points for McNemar's test at "
        f"{100 * LEVEL:g} % to show it in {100 * POWER:g} % of cases"
    )


def find_difference(images: int, disagreement: float) -> float | None:
    """Return the difference in accuracy that McNemar's test shows with a probability of `POWER`; None if there is none.

    It is Connor's equation n = (z_a sqrt(p) + z_b sqrt(p - d^2))^2 / d^2, solved for d ("Sample Size for Testing
    Differences in Proportions for the Paired-Sample Design", Biometrics 43, 1987).

    Args:
        images: n, the number of test images.
        disagreement: p, the share of images that only one of the two models classifies correctly.
    """
    alpha, beta = norm.ppf(1 - LEVEL / 2), norm.ppf(POWER)
    root = beta * sqrt(disagreement * max(0.0, images - alpha**2 + beta**2))
    difference = float((alpha * sqrt(disagreement * images) + root) / (images + beta**2))
    return difference if difference <= disagreement else None


def _count(things: Iterable[Any], noun: str) -> str:
    """Return a number with its noun.

    >>> _count("ab", "class"), _count("a", "image")
    ('2 classes', '1 image')
    """
    number = len(list(things))
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def _agree(number: int, text: str) -> str:
    """Return a text about several things in the singular if there is one.

    >>> _agree(1, "have transparency: they are composited on white")
    'has transparency: it is composited on white'
    """
    singular = {"are": "is", "have": "has", "contain": "contains", "they": "it"}
    return " ".join(singular.get(word, word) for word in text.split()) if number == 1 else text


def _join(words: list[str]) -> str:
    """Return words as an enumeration.

    >>> _join(["2", "5", "10"])
    '2, 5 and 10'
    """
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def _verb(number: int) -> str:
    return "is" if number == 1 else "are"


def _round(value: float) -> str:
    """Return a number with two significant digits, without an exponent.

    >>> _round(100.0), _round(1.11)
    ('100', '1.1')
    """
    return f"{float(f'{value:.2g}'):g}"


CHECKS: tuple[Callable[[Subject], list[Finding]], ...] = (
    find_unreadable,
    find_dark,
    find_mixed_depths,
    find_empty_classes,
    find_split_problem,
    find_leaks,
    find_conflicts,
    find_similar,
    find_small_classes,
    find_imbalance,
    find_repeats,
    find_small_images,
    find_traits,
    find_left_out,
    find_alike_classes,
    find_notes,
    find_resolution,
)
