"""What a folder looks like that is not laid out as classes, and what to do about it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from triptych.config.names import TABLE_SUFFIXES
from triptych.data.parts import name_part
from triptych.errors import DataError
from triptych.images.walk import classify, list_folders

# Folders of images without classes, and what lies beside them.
IMAGES = frozenset({"images", "imgs", "image", "jpegimages", "img"})
ANNOTATIONS = frozenset(
    {
        "annotations",
        "annotation",
        "labels",
        "masks",
        "mask",
        "trimaps",
        "xmls",
        "segmentation",
        "segmentations",
        "bboxes",
    }
)
# `images_part_1`, `batch2`, `shard-03`.
PORTION = re.compile(r".*(part|batch|chunk|shard|fold|portion)s?[\W_]*\d+")
# `trainA`, `test_B`: a part and a class in one name.
PART_AND_CLASS = re.compile(r"(train|test|val)[\W_]*([A-Z]|\d)", re.IGNORECASE)

ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
ARRAYS = (".npz", ".npy", ".h5", ".hdf5", ".mat", ".pkl", ".pickle", ".tfrecord", ".pt", ".idx")
# `cat.0.jpg`, `cat_12.jpg`, `cat (3).jpg`: a class and a number.
NUMBERED = re.compile(r"(.*[^\W\d_])[\W_]*\d+")
# Files of a folder that are looked at for a hint.
FILES_LOOKED_AT = 1000


def list_classes(directory: Path) -> list[str]:
    """Return the names of the folders in a folder.

    Raises:
        DataError: it may not be read.
    """
    try:
        return list_folders(directory)
    except PermissionError as error:
        raise DataError(explain_locked(directory)) from error


def explain_locked(path: Path) -> str:
    """Return the error for a folder that may not be read."""
    return f"{path} may not be read: allow it with chmod u+rwX, or move it elsewhere"


def holds_images(directory: Path) -> bool:
    """Return whether a folder holds images itself.

    Raises:
        DataError: it may not be read.
    """
    try:
        return any(not classify(path) and path.is_file() for path in directory.iterdir())
    except PermissionError as error:
        raise DataError(explain_locked(directory)) from error


def refuse_other_layouts(directory: Path, names: Sequence[str], *, nested: bool) -> None:
    """Refuse folders that look like parts, portions or annotations rather than classes.

    Args:
        directory: the folder.
        names: of the folders in it.
        nested: whether classes may all hold the same folders.

    Raises:
        DataError: they look like something else.
    """
    images = [name for name in names if name.lower() in IMAGES]
    if images and len(names) > 1 and all(name.lower() in {*IMAGES, *ANNOTATIONS} for name in names):
        others = ", ".join(name for name in names if name not in images)
        remedy = (
            f"give {directory / images[0]}"
            if list_classes(directory / images[0])
            else "give a table of the images, table:FILE"
        )
        raise DataError(f"{directory} has {images[0]} beside {others}, which are no classes: {remedy}")
    if len(names) > 1 and all(PORTION.fullmatch(name.lower()) and holds_images(directory / name) for name in names):
        raise DataError(
            f"{shorten(names)} in {directory} look like portions of one set, not classes: put the images of each class "
            f"into a folder, or give a table of them, table:FILE"
        )
    domains = [match.groups() for name in names if (match := PART_AND_CLASS.fullmatch(name))]
    if len(names) > 1 and len(domains) == len(names) and len({part.lower() for part, _ in domains}) > 1:
        part, domain = domains[0]
        raise DataError(
            f"{shorten(names)} in {directory} look like parts and classes in one name: make folders such as "
            f"{part}/{domain}"
        )
    if not nested:
        _refuse_same_folders(directory, names)


def _refuse_same_folders(directory: Path, names: Sequence[str]) -> None:
    """Refuse folders that hold no images but the same folders each: they are parts rather than classes."""
    inside = {name: set(list_classes(_unwrap_same(directory / name))) for name in names}
    common = set.intersection(*inside.values()) if inside else set()
    union = set.union(*inside.values()) if inside else set()
    if len(names) < 2 or len(common) < 2 or 2 * len(common) < len(union):
        return
    if any(holds_images(directory / name) for name in names):
        return
    same = f"{shorten(names)} in {directory} hold no images but the same folders each ({shorten(sorted(common))})"
    if all(map(name_part, common)):
        first = min(common, key=lambda name: name_part(name) != "train")
        raise DataError(f"{same}, which are parts: put them above the classes, as {first}/{names[0]}")
    raise DataError(
        f"{same}, so they look like parts, not classes: name them train, val and test; if they are classes with groups "
        f"of images, set split.group_by=folder"
    )


def _unwrap_same(top: Path) -> Path:
    while len(names := list_classes(top)) == 1 and names[0].casefold() == top.name.casefold():
        top /= names[0]
    return top


def hint(directory: Path) -> str:
    """Return what a folder without class folders looks like, and what to do about it; empty if there is no hint."""
    names = list_classes(directory)
    if len(names) == 1 and len(list_classes(directory / names[0])) > 1:
        return f"the classes seem to be one level down: give {directory / names[0]}"
    files = [path for path, _ in zip(sorted(directory.iterdir()), range(FILES_LOOKED_AT), strict=False)]
    for endings, remedy in HINTS:
        if found := [file for file in files if file.suffix.lower() in endings]:
            return remedy.format(file=found[0])
    named = Counter(match[1] for file in files if not classify(file) and (match := NUMBERED.fullmatch(file.stem)))
    if 1 < len(named) <= named.total() / 2:  # otherwise the names are those of a camera or a web page
        return f"the names of its images look like the classes {shorten(sorted(named))}: put each into a folder"
    if any(not classify(file) and file.is_file() for file in files):
        return (
            "it holds images itself: if it is one class, give the folder above; otherwise put the images of each class "
            "into a folder, give a table of them, table:FILE, or, if they have no class, use `triptych predict` on them"
        )
    return ""


HINTS: tuple[tuple[tuple[str, ...], str], ...] = (
    (TABLE_SUFFIXES, "{file} may be a table of the images: give table:{file}"),
    (ARCHIVES, "{file} is an archive: unpack it"),
    (ARRAYS, "{file} holds arrays, which are not read: save them as images, or as MNIST's files for idx:DIR"),
)


def shorten(names: Sequence[str], most: int = 5) -> str:
    """Return names as an enumeration, of which only the first are named."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
