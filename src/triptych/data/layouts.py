"""How a folder of photos is laid out: which of its folders are parts, which are classes, and what else it may be.

A part is known by its name in any of the spellings of public data sets, and by what it holds: the folders of classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from triptych.data.hints import hint, holds_images, list_classes, refuse_other_layouts
from triptych.data.parts import name_part, name_parts
from triptych.errors import DataError

VAL_IS_TEST = "val/ is used as the test set, as there is no test/; the validation set is drawn from train/"
# A class of vehicles: the only word of a part that is taken for a class if the folder holds images itself.
TRAIN = "train"


@dataclass(frozen=True)
class Layout:
    """The folders of a data set.

    Attributes:
        tops: for each part the folder of its classes; only "train" if the folder has no parts.
        notes: how the parts were read, where that matters for the results.
        beside: folders next to the parts that hold no classes, such as pictures without labels.
        between: folders of parts that hold the folder of the part's classes once more.
    """

    tops: dict[str, Path]
    notes: tuple[str, ...] = ()
    beside: tuple[Path, ...] = ()
    between: tuple[Path, ...] = ()


def find_layout(directory: Path, *, nested: bool = False) -> Layout:
    """Return the parts of a folder, each with the folder of its classes.

    Args:
        directory: the folder.
        nested: take folders for classes although all of them hold the same folders, such as days.

    Raises:
        DataError: parts are missing, doubled or beside classes, or what looks like classes are parts.
    """
    names = list_classes(directory)
    named = name_parts(names)
    parts = [name for name in named if not _is_class(directory, name, names)]
    if not parts:
        refuse_other_layouts(directory, names, nested=nested)
        return Layout({"train": directory})
    tops: dict[str, Path] = {}
    between: list[Path] = []
    for name in parts:
        part = named[name]
        if part in tops:
            raise DataError(f"{tops[part]} and {directory / name} are both the {part} set: keep one")
        *outer, tops[part] = _unwrap(directory / name, part)
        between += outer
    if "train" not in tops:
        raise DataError(f"{directory} has {', '.join(parts)} but no train: add one")
    for part, top in sorted(tops.items(), key=lambda item: item[0] != TRAIN):
        if not list_classes(top):
            remedy = hint(top) or "put one for each class in it"
            raise DataError(f"{top}, the {part} set, has no class folders: {remedy}")
    beside = tuple(directory / name for name in names if name not in parts)
    classes = set(list_classes(tops["train"]))
    if odd := [folder.name for folder in beside if folder.name in classes or classes & set(list_classes(folder))]:
        raise DataError(f"{directory} has {', '.join(odd)} next to train, val or test: move them elsewhere")
    return _name_tops(tops, beside, tuple(between))


def _name_tops(tops: dict[str, Path], beside: tuple[Path, ...], between: tuple[Path, ...]) -> Layout:
    if "validation" in tops and "test" not in tops:
        return Layout({"train": tops["train"], "test": tops["validation"]}, (VAL_IS_TEST,), beside, between)
    if len(tops) == 1:
        return Layout(tops, ("there is only train/: the test set is drawn from it",), beside, between)
    return Layout(tops, (), beside, between)


def _is_class(directory: Path, name: str, names: Sequence[str]) -> bool:
    """Return whether a folder called `train` is a class, such as of vehicles: it holds images, as folders beside it do.

    Raises:
        DataError: a folder with another name of a part holds images beside class folders.
    """
    if list_classes(directory / name) or not holds_images(directory / name):
        return False
    others = [other for other in names if other != name and not name_part(other) and holds_images(directory / other)]
    if not others:
        return False
    if name.lower() == TRAIN:
        return True
    raise DataError(
        f"{directory / name} holds images itself, next to class folders such as {others[0]}: move it elsewhere if its "
        f"images have no class, or rename it if it is a class"
    )


def _unwrap(top: Path, part: str) -> list[Path]:
    """Return the folders from that of a part to that of its classes, as in `seg_train/seg_train/forest`."""
    tops = [top]
    while len(names := list_classes(tops[-1])) == 1 and list_classes(tops[-1] / names[0]):
        if name_part(names[0]) != part and names[0].casefold() != tops[-1].name.casefold():
            break
        tops.append(tops[-1] / names[0])
    return tops
