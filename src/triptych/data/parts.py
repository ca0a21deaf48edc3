"""The parts of a data set by the names of their folders, in the spellings of public data sets."""

from __future__ import annotations

import re
from collections.abc import Sequence

WORDS_OF_PARTS = {
    "train": ("train", "training", "trn"),
    "validation": ("val", "valid", "validation", "validate", "dev", "eval", "evaluation"),
    "test": ("test", "testing", "tst"),
}
PART_OF_WORD = {word: part for part, words in WORDS_OF_PARTS.items() for word in words}
# Words beside that of the part, as in `training_set`, `seg_train`, `val_images` or `testdata`.
FILLERS = ("set", "data", "dataset", "images", "imgs", "img", "photos", "pics", "seg", "split", "folder")
GLUED = re.compile(rf"({'|'.join(sorted(PART_OF_WORD, key=len, reverse=True))})({'|'.join(FILLERS)})")


def name_part(name: str) -> str | None:
    """Return the part that a folder is called after: "train", "validation" or "test"; None for another name.

    >>> [name_part(name) for name in ("Training_Set", "seg_test", "valImages", "DEV", "train2017", "trainers")]
    ['train', 'test', 'validation', 'validation', 'train', None]
    """
    telling = [word for word in _split_words(name) if word not in FILLERS]
    return PART_OF_WORD.get(telling[0]) if len(telling) == 1 else None


def _split_words(name: str) -> list[str]:
    words = re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
    return [part for word in words for part in (GLUED.fullmatch(word) or re.fullmatch("(.*)", word)).groups()]  # type: ignore[union-attr]


def name_parts(names: Sequence[str]) -> dict[str, str]:
    """Return the part of each folder that is called after one, also if all of these share other words.

    >>> name_parts(["asl_alphabet_train", "asl_alphabet_test", "notes"])
    {'asl_alphabet_train': 'train', 'asl_alphabet_test': 'test'}
    """
    if alone := {name: part for name in names if (part := name_part(name))}:
        return alone
    words = {name: [word for word in _split_words(name) if word not in FILLERS] for name in names}
    parts = {name: [PART_OF_WORD[word] for word in words[name] if word in PART_OF_WORD] for name in names}
    shared = {name: " ".join(word for word in words[name] if word not in PART_OF_WORD) for name in names if parts[name]}
    several = len(set(shared.values())) == 1 and len({tuple(parts[name]) for name in shared}) > 1
    return {name: parts[name][0] for name in shared if len(parts[name]) == 1} if several else {}
