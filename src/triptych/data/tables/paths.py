"""The files that the paths of a table mean, as people and other systems write them."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from triptych.data.tables.formats import show

# In search of an image that a path may mean.
FOLDERS_LOOKED_AT = 50


def find_file(root: Path, text: str) -> Path | None:
    """Return the file that a path means; None if there is none."""
    for spelling in _spell(text):
        file = root / spelling
        try:
            if stat.S_ISREG(file.stat().st_mode):
                return file
        except OSError:
            continue
    return None


def _spell(text: str) -> Iterator[str]:
    """Yield a path as it is, then without blanks around it, with slashes for backslashes, in both Unicode forms."""
    yield text
    yield text.strip()
    yield text.strip().replace("\\", "/")
    for form in ("NFC", "NFD"):
        yield unicodedata.normalize(form, text.strip().replace("\\", "/"))


def explain_missing(root: Path, text: str) -> str:
    """Return why `find_file` finds no file, and which one may be meant."""
    file = root / text.strip().replace("\\", "/")
    try:
        kind = "a folder" if stat.S_ISDIR(file.stat().st_mode) else "no file"
    except FileNotFoundError:
        near = next(_list_near(root, file.relative_to(root)), None) if file.is_relative_to(root) else None
        hint = f"; did you mean {show(os.path.relpath(near, root))}?" if near else ""
        return f"{show(text)} does not exist in {root}: correct the path, which is relative to the table{hint}"
    except OSError as error:
        return f"{show(text)} cannot be found in {root} ({error.strerror}): correct the path"
    return f"{show(text)} is {kind} in {root}: name an image"


def _list_near(root: Path, name: Path) -> Iterator[Path]:
    """Yield files that may be meant by a name that does not exist: it lacks an ending, or the folder is another one.

    Args:
        root: the folder of the table, which is looked through, as are the folder above it and some in it.
        name: relative to the root.
    """
    with suppress(OSError):  # a folder that may not be read
        below = islice((folder for folder in sorted(root.iterdir()) if folder.is_dir()), FOLDERS_LOOKED_AT)
        for place in (root, root.parent, *below):
            wanted = (place / name).name.casefold()
            for one in (place / name).parent.glob("*"):
                if wanted in {one.name.casefold(), one.stem.casefold()} and one.is_file():
                    yield one
