"""The one walk that finds images in folders, and names whatever it leaves out.

Links are followed. What systems and tools keep for themselves is left out at every depth, so that no thumbnail, backup
or deleted photo is trained on.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from triptych.errors import ConfigError
from triptych.images.decoding import IMAGE_SUFFIXES

# Names of folders, in lower case, that belong to a system or a tool; a name that begins with a dot is hidden anyway.
SERVICE_FOLDERS = frozenset(
    {
        "__macosx",  # archives made on macOS
        "network trash folder",
        "temporary items",
        "@eadir",  # Synology's thumbnails
        "@tmp",
        "@sharesnap",
        "@recycle",  # QNAP
        "@recently-snapshot",
        "#recycle",  # Synology's bin
        "#snapshot",
        "~snapshot",  # NetApp
        "$recycle.bin",  # Windows
        "found.000",  # its disk check
        "system volume information",
        "lost+found",  # ext4
        "__pycache__",
    }
)
# Files that these leave in every folder, in lower case.
SERVICE_FILES = frozenset({".ds_store", "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r"})

# Why something is left out: the words that follow a number in a message.
HIDDEN, SERVICE, ENDING = "hidden", "service", "ending"
BROKEN_LINK, SEEN, CROSSING, SPECIAL, LOCKED = "broken_link", "seen", "crossing", "special", "locked"
BESIDE = "beside"
REASONS = {
    BESIDE: "beside the class folders",
    ENDING: "without an image's ending",
    HIDDEN: "hidden by the dot in front of the name",
    SERVICE: "of a system or a tool",
    BROKEN_LINK: "linked to nothing",
    SEEN: "linked to a folder that is read already",
    CROSSING: "linked to a folder above, or to another class or part",
    SPECIAL: "that are no regular files",
    LOCKED: "that may not be read",
}


# Of what was left out, for a message; `triptych check --all` gives all.
NAMES_SHOWN, ENDINGS_SHOWN = 3, 8


@dataclass(frozen=True)
class LeftOut:
    """A file or a folder that the walk left out.

    Attributes:
        path: where it is.
        reason: a row of `REASONS`.
        top: the folder that was walked, such as that of a class.
    """

    path: Path
    reason: str
    top: Path


@dataclass
class Walk:
    """What was found in a folder.

    Attributes:
        images: the files with an image's ending, sorted.
        left_out: everything else, sorted.
    """

    images: list[Path] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


def walk_images(top: Path, root: Path | None = None) -> Walk:
    """Return the images in a folder and its subfolders.

    A folder that is reached twice, by a link, is read once.

    Args:
        top: a folder; its own name does not matter, so that a hidden folder may be given by name.
        root: the folder of the whole data set: links from `top` to other parts of it are left out.
    """
    walk, links = Walk(), [top]
    inside, whole = top.resolve(), (root or top).resolve()
    seen: set[tuple[int, int]] = set()
    # Links last: images are known by the place that they really have, if that is here.
    while links:
        folders = [links.pop(0)]
        while folders:
            folder = folders.pop()
            if not _enter(folder, seen):
                walk.left_out.append(LeftOut(folder, SEEN, top))
                continue
            try:
                entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
            except PermissionError:
                walk.left_out.append(LeftOut(folder, LOCKED, top))
                continue
            for entry in entries:
                path = Path(entry.path)
                if reason := classify(path):
                    walk.left_out.append(LeftOut(path, reason, top))
                elif entry.is_symlink() and path.is_dir():
                    if _crosses(path.resolve(), inside, whole):
                        walk.left_out.append(LeftOut(path, CROSSING, top))
                    else:
                        links.append(path)
                elif path.is_dir():
                    folders.append(path)
                else:
                    walk.images.append(path)
    walk.images.sort()
    walk.left_out.sort(key=lambda one: one.path)
    return walk


def leads_back(path: Path) -> bool:
    """Return whether a path is a link to a folder that is in the same folder as the link, or has that in it."""
    if not (path.is_symlink() and path.is_dir()):
        return False
    target, here = path.resolve(), path.parent.resolve()
    return here.is_relative_to(target) or target.is_relative_to(here)


def _crosses(target: Path, inside: Path, whole: Path) -> bool:
    """Return whether a folder is in the data set but not in the folder that is walked, or has both in it."""
    return (
        inside.is_relative_to(target)
        or whole.is_relative_to(target)
        or (target.is_relative_to(whole) and not target.is_relative_to(inside))
    )


def _enter(folder: Path, seen: set[tuple[int, int]]) -> bool:
    """Return whether a folder was not entered before, and remember it."""
    status = folder.stat()
    key = (status.st_dev, status.st_ino)
    new = key not in seen
    seen.add(key)
    return new


def classify(path: Path) -> str:
    """Return why a file or folder is left out, a row of `REASONS`; empty if it is a folder or an image.

    >>> classify(Path("ants/.thumbnails")), classify(Path("photos/#recycle"))
    ('hidden', 'service')
    """
    name = path.name.lower()
    if name in SERVICE_FOLDERS or name in SERVICE_FILES:
        return SERVICE
    return HIDDEN if name.startswith(".") else _classify_content(path)


def _classify_content(path: Path) -> str:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return LOCKED if isinstance(error, PermissionError) else BROKEN_LINK
    if stat.S_ISDIR(mode):
        return ""
    if not stat.S_ISREG(mode):
        return SPECIAL
    return "" if path.suffix.lower() in IMAGE_SUFFIXES else ENDING


def find_images(paths: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Return the given files and all images in the given folders, and what was left out of the folders, in words.

    Raises:
        ConfigError: a path does not exist, or a folder contains no image.
    """
    files: list[Path] = []
    notes: list[str] = []
    for path in paths:
        if not path.exists():
            raise ConfigError(f"{path} does not exist: give image files, or folders of them")
        if not path.is_dir():
            files.append(path)
            continue
        walk = walk_images(path)
        left_out = describe_left_out(walk.left_out, path)
        if not walk.images:
            has = f"; {left_out[0]}" if left_out else ""
            raise ConfigError(f"{path} contains no image: give a folder with {', '.join(IMAGE_SUFFIXES)} files{has}")
        files += walk.images
        notes += [f"{path}: {note}" for note in left_out]
    return files, notes


def list_folders(top: Path) -> list[str]:
    """Return the names of the folders in a folder, sorted, without those that are left out.

    Raises:
        PermissionError: the folder may not be read, or what is in it may not be looked at.
    """
    reasons = {path: classify(path) or (CROSSING if leads_back(path) else "") for path in top.iterdir()}
    if reasons and all(reason == LOCKED for reason in reasons.values()):
        raise PermissionError(top)
    return sorted(path.name for path, reason in reasons.items() if not reason and path.is_dir())


def describe_left_out(left_out: Sequence[LeftOut], root: Path) -> list[str]:
    """Return a line for each reason why something was left out, with counts by ending and folder, and the first names.

    Files that every system leaves in folders, and that nobody takes for images, are not mentioned.

    Args:
        left_out: what was left out.
        root: the folder that names are relative to.
    """
    lines = []
    for reason, words in REASONS.items():
        found = [one for one in left_out if one.reason == reason and _matters(one)]
        if found:
            counts = "; ".join(filter(None, (_count_endings(found), _count_tops(found, root))))
            names = ", ".join(one.path.relative_to(root).as_posix() for one in found[:NAMES_SHOWN])
            more = ", ..." if len(found) > NAMES_SHOWN else ""
            lines.append(f"left out {len(found):,} {words}{f' ({counts})' if counts else ''}: {names}{more}")
    return lines


def _matters(one: LeftOut) -> bool:
    return one.reason not in {HIDDEN, SERVICE} or one.path.suffix.lower() in IMAGE_SUFFIXES or one.path.is_dir()


def _count_endings(found: Sequence[LeftOut]) -> str:
    """Return how many files have each ending, the most frequent first; nothing for what is known by another reason."""
    return _count(one.path.suffix.lower() or "no ending" for one in found if one.reason in {BESIDE, ENDING})


def _count_tops(found: Sequence[LeftOut], root: Path) -> str:
    return _count(one.top.name for one in found if one.top != root)


def _count(words: Iterable[str]) -> str:
    return ", ".join(f"{word} {count}" for word, count in Counter(words).most_common(ENDINGS_SHOWN))


def describe_endings(left_out: Iterable[LeftOut]) -> str:
    """Return how many files without an image's ending have each other ending, the most frequent first."""
    return _count_endings([one for one in left_out if one.reason == ENDING])
