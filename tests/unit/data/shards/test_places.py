from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from triptych.data.shards.files import Identities, Marks
from triptych.data.shards.places import Places, Run, find_places

SMALL, LARGE, SAME = Path("a.npy"), Path("b.npy"), Path("c.npy")
MARK = np.dtype([("identity", "S32"), ("content", "S32")])


def mark(images: str) -> Marks:
    """Return the marks of a file of images that are named by a letter; the last byte of an identity may be zero."""
    rows = [(letter.encode() * 31 + b"\0", f"{letter} in a file of {len(images)}") for letter in images]
    return np.array(rows, dtype=MARK)


def find(held: dict[Path, Marks], identities: Identities) -> Places:
    return find_places(held, identities, MARK)


HELD = {SMALL: mark("xy"), SAME: mark("pqy"), LARGE: mark("xop")}


@pytest.mark.parametrize(
    ("wanted", "runs"),
    [
        ("xop", [Run(LARGE, 0, 3)]),
        ("yxy", [Run(SAME, 2, 3), Run(LARGE, 0, 1), Run(SAME, 2, 3)]),
        ("qpo", [Run(SAME, 1, 2), Run(LARGE, 2, 3), Run(LARGE, 1, 2)]),
        ("oo", [Run(LARGE, 1, 2), Run(LARGE, 1, 2)]),
    ],
)
def test_an_image_is_found_in_the_largest_file_that_holds_it(wanted: str, runs: list[Run]) -> None:
    places = find(HELD, mark(wanted)["identity"])
    assert list(places.list_runs()) == runs
    assert places.marks["content"].tolist() == [f"{letter} in a file of 3".encode() for letter in wanted]
    assert set(places.used) == {run.file for run in runs}


def test_what_no_file_holds_is_missing() -> None:
    assert find(HELD, mark("axzy")["identity"]).missing.tolist() == [0, 2]
    nowhere = find({}, mark("xy")["identity"])
    assert (nowhere.missing.tolist(), nowhere.used) == ([0, 1], [])
