"""How a folder of photos is laid out: which of its folders are parts, which are classes, and what else it may be.

A part is known by its name in any of the spellings of public data sets, and by what it holds: the folders of classes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from triptych.config.names import TABLE_SUFFIXES
from triptych.errors import DataError
from triptych.images.walk import classify, list_folders

WORDS_OF_PARTS = {
    "train": ("train", "training", "trn"),
    "validation": ("val", "valid", "validation", "validate", "dev", "eval", "evaluation"),
    "test": ("test", "testing", "tst"),
}
PART_OF_WORD = {word: part for part, words in WORDS_OF_PARTS.items() for word in words}
# Words beside that of the part, as in `training_set`, `seg_train`, `val_images` or `testdata`.
FILLERS = ("set", "data", "dataset", "images", "imgs", "img", "photos", "pics", "seg", "split", "folder")
GLUED = re.compile(rf"({'|'.join(sorted(PART_OF_WORD, key=len, reverse=True))})({'|'.join(FILLERS)})")
VAL_IS_TEST = "val/ is used as the test set, as there is no test/; the validation set is drawn from train/"
# A class of vehicles: the only word of a part that is taken for a class if the folder holds images itself.
TRAIN = "train"

ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
ARRAYS = (".npz", ".npy", ".h5", ".hdf5", ".mat", ".pkl", ".pickle", ".tfrecord", ".pt", ".idx")
# `cat.0.jpg`, `cat_12.jpg`, `cat (3).jpg`: a class and a number.
NUMBERED = re.compile(r"(.*[^\W\d_])[\W_]*\d+")
# Files of a folder that are looked at for a hint.
FILES_LOOKED_AT = 1000


@dataclass(frozen=True)
class Layout:
    """The folders of a data set.

    Attributes:
        tops: for each part the folder of its classes; only "train" if the folder has no parts.
        notes: how the parts were read, where that matters for the results.
        beside: folders next to the parts that hold no classes, such as pictures without labels.
    """

    tops: dict[str, Path]
    notes: tuple[str, ...] = ()
    beside: tuple[Path, ...] = ()


def name_part(name: str) -> str | None:
    """Return the part that a folder is called after: "train", "validation" or "test"; None for another name.

    >>> [name_part(name) for name in ("Training_Set", "seg_test", "valImages", "DEV", "train2017", "trainers")]
    ['train', 'test', 'validation', 'validation', 'train', None]
    """
    words = re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
    split = [part for word in words for part in (GLUED.fullmatch(word) or re.fullmatch("(.*)", word)).groups()]  # type: ignore[union-attr]
    telling = [word for word in split if word not in FILLERS]
    return PART_OF_WORD.get(telling[0]) if len(telling) == 1 else None


def find_layout(directory: Path, *, nested: bool = False) -> Layout:
    """Return the parts of a folder, each with the folder of its classes.

    Args:
        directory: the folder.
        nested: take folders for classes although all of them hold the same folders, such as days.

    Raises:
        DataError: parts are missing, doubled or beside classes, or what looks like classes are parts.
    """
    names = _list(directory)
    parts = [name for name in names if name_part(name) and not _is_class(directory, name, names)]
    if not parts:
        if not nested:
            _refuse_unknown_parts(directory, names)
        return Layout({"train": directory})
    tops: dict[str, Path] = {}
    for name in parts:
        part = name_part(name) or ""
        if part in tops:
            raise DataError(f"{tops[part]} and {directory / name} are both the {part} set: keep one")
        tops[part] = _unwrap(directory / name, part)
    if "train" not in tops:
        raise DataError(f"{directory} has {', '.join(parts)} but no train: add one")
    for part, top in sorted(tops.items(), key=lambda item: item[0] != TRAIN):
        if not _list(top):
            remedy = hint(top) or "put one for each class in it"
            raise DataError(f"{top}, the {part} set, has no class folders: {remedy}")
    beside = tuple(directory / name for name in names if name not in parts)
    classes = set(_list(tops["train"]))
    if odd := [folder.name for folder in beside if folder.name in classes or classes & set(_list(folder))]:
        raise DataError(f"{directory} has {', '.join(odd)} next to train, val or test: move them elsewhere")
    return _name_tops(tops, beside)


def _name_tops(tops: dict[str, Path], beside: tuple[Path, ...]) -> Layout:
    if "validation" in tops and "test" not in tops:
        return Layout({"train": tops["train"], "test": tops["validation"]}, (VAL_IS_TEST,), beside)
    if len(tops) == 1:
        return Layout(tops, ("there is only train/: the test set is drawn from it",), beside)
    return Layout(tops, (), beside)


def _list(directory: Path) -> list[str]:
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


def _is_class(directory: Path, name: str, names: Sequence[str]) -> bool:
    """Return whether a folder called `train` is a class, such as of vehicles: it holds images, as folders beside it do.

    Raises:
        DataError: a folder with another name of a part holds images beside class folders.
    """
    if _list(directory / name) or not _holds_images(directory / name):
        return False
    others = [other for other in names if other != name and not name_part(other) and _holds_images(directory / other)]
    if not others:
        return False
    if name.lower() == TRAIN:
        return True
    raise DataError(
        f"{directory / name} holds images itself, next to class folders such as {others[0]}: move it elsewhere if its "
        f"images have no class, or rename it if it is a class"
    )


def _unwrap(top: Path, part: str) -> Path:
    """Return the folder of a part's classes, which archives often hold twice: `seg_train/seg_train/forest`."""
    while (names := _list(top)) and len(names) == 1 and name_part(names[0]) == part and _list(top / names[0]):
        top /= names[0]
    return top


def _holds_images(directory: Path) -> bool:
    return any(not classify(path) and path.is_file() for path in directory.iterdir())


def _refuse_unknown_parts(directory: Path, names: Sequence[str]) -> None:
    """Refuse folders that hold no images but the same folders each: they are parts rather than classes."""
    inside = {name: set(_list(directory / name)) for name in names}
    common = set.intersection(*inside.values()) if inside else set()
    union = set.union(*inside.values()) if inside else set()
    if len(names) < 2 or len(common) < 2 or 2 * len(common) < len(union):
        return
    if any(_holds_images(directory / name) for name in names):
        return
    raise DataError(
        f"{', '.join(names)} in {directory} hold no images but the same folders each ({_shorten(sorted(common))}), so "
        f"they look like parts, not classes: name them train, val and test; if they are classes with groups of images, "
        f"set split.group_by=folder"
    )


def hint(directory: Path) -> str:
    """Return what a folder without class folders looks like, and what to do about it; empty if there is no hint."""
    names = _list(directory)
    if len(names) == 1 and len(_list(directory / names[0])) > 1:
        return f"the classes seem to be one level down: give {directory / names[0]}"
    files = [path for path, _ in zip(sorted(directory.iterdir()), range(FILES_LOOKED_AT), strict=False)]
    for endings, remedy in HINTS:
        if found := [file for file in files if file.suffix.lower() in endings]:
            return remedy.format(file=found[0])
    named = Counter(match[1] for file in files if not classify(file) and (match := NUMBERED.fullmatch(file.stem)))
    if len(named) > 1:
        return f"the names of its images look like the classes {_shorten(sorted(named))}: put each into a folder"
    if any(not classify(file) and file.is_file() for file in files):
        return "it holds images itself: put those of each class into a folder, or give a table of them, table:FILE"
    return ""


HINTS: tuple[tuple[tuple[str, ...], str], ...] = (
    (TABLE_SUFFIXES, "{file} may be a table of the images: give table:{file}"),
    (ARCHIVES, "{file} is an archive: unpack it"),
    (ARRAYS, "{file} holds arrays, which are not read: save them as images, or as MNIST's files for idx:DIR"),
)


def _shorten(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
