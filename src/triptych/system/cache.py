"""Listing the cache, and deleting from it what has not been used for long.

A link in the cache is listed and deleted as a link: what it leads to stays.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from triptych.errors import ConfigError, DamagedFileError, StorageError, suggest
from triptych.system.checked import read_json
from triptych.system.files import measure_folder
from triptych.system.paths import cache_home

SECONDS_PER_DAY = 86_400
MEBIBYTE = 2**20
# Files that a link leads to.
MOST_LOOKED_AT = 10_000


@dataclass(frozen=True)
class CacheFile:
    """A file in the cache.

    Attributes:
        path: its path.
        size_bytes: its size.
        used: time of its last use, in seconds since 1970.
        regular: whether it is a file, not a link, a pipe or the like, which nothing may read.
    """

    path: Path
    size_bytes: int
    used: float
    regular: bool = True


@dataclass(frozen=True)
class CacheEntry:
    """Files that belong together: the embeddings of one network, a training, a data set, a split, a report.

    Attributes:
        kind: a row of `KINDS`, or `OTHER`.
        name: name of the folder or file.
        files: its files.
        details: a description for people.
        images: number of images; None where there are none.
    """

    kind: str
    name: str
    files: tuple[CacheFile, ...]
    details: str
    images: int | None

    @property
    def size_bytes(self) -> int:
        """The size of all its files."""
        return sum(file.size_bytes for file in self.files)

    @property
    def used(self) -> float:
        """The last use of any of its files, in seconds since 1970."""
        return max(file.used for file in self.files)

    def select_unused(self, before: float) -> tuple[CacheFile, ...]:
        """Return the files to delete, which were last used before a time in seconds since 1970.

        Embeddings and thumbnails are selected file by file, since each file holds images of its own; any other entry as
        a whole. What could not be made again is never selected.
        """
        if self.kind not in PRUNED:
            return ()
        if self.kind in SHARDED and self.used >= before:
            return tuple(file for file in self.files if file.used < before and file.path.suffix == ".npy")
        return self.files if self.used < before else ()

    def as_row(self) -> dict[str, Any]:
        """Return the entry as plain values, its sizes in MiB and its age in days."""
        return {
            "kind": self.kind,
            "name": self.name,
            "details": self.details,
            "images": self.images,
            "mebibytes": round(self.size_bytes / MEBIBYTE, 2),
            "unused_days": round((time.time() - self.used) / SECONDS_PER_DAY, 2),
        }


def list_cache(kinds: Sequence[str] = ()) -> list[CacheEntry]:
    """Return the entries of the cache, kind by kind, the most recently used first.

    Args:
        kinds: some of `PRUNED`; empty means everything that lies in the cache.

    Raises:
        ConfigError: a kind is unknown, or is kept.
    """
    for kind in kinds:
        if kind not in PRUNED:
            raise ConfigError(f"unknown kind {kind!r}: the kinds are {', '.join(PRUNED)}{suggest(kind, PRUNED)}")
    return [entry for kind in kinds or (*KINDS, OTHER) for entry in _list_entries(kind)]


def measure_cache() -> dict[str, int]:
    """Return the bytes of each folder in the cache."""
    home = cache_home()
    folders = sorted(home.iterdir()) if home.is_dir() else []
    return {folder.name: measure_folder(folder) for folder in folders if folder.is_dir() and not folder.is_symlink()}


def select_unused(entries: Iterable[CacheEntry], days: float) -> list[CacheFile]:
    """Return the files to delete, which have not been used for a number of days.

    Raises:
        ConfigError: the number of days is negative.
    """
    if not days >= 0:
        raise ConfigError(f"--older-than {days:g} is not a number of days: give 0 or more")
    before = time.time() - days * SECONDS_PER_DAY
    return [file for entry in entries for file in entry.select_unused(before)]


def delete_files(files: Iterable[CacheFile]) -> None:
    """Delete files in the cache, and the folders that this leaves empty.

    Raises:
        StorageError: this user may not delete some of them; all others are gone.
    """
    refused: list[tuple[Path, OSError]] = []
    for file in files:
        try:
            file.path.unlink(missing_ok=True)
        except OSError as error:
            refused.append((file.path, error))
            continue
        for folder in file.path.parents:
            if cache_home() in {folder, folder.parent}:
                break
            with suppress(OSError):  # not empty
                folder.rmdir()
    if refused:
        path, reason = refused[0]
        raise StorageError(
            f"{len(refused)} file(s) of the cache cannot be deleted, such as {path} ({reason.strerror}): allow this "
            "user to write to their folders, or let their owner delete them; the others are deleted"
        )


def _list_entries(kind: str) -> list[CacheEntry]:
    entries = [_read_entry(kind, place) for place in _list_places(kind)]
    return sorted((entry for entry in entries if entry.files), key=lambda entry: -entry.used)


def _list_places(kind: str) -> list[Path]:
    """Return the folder or file of each entry of a kind; a link or a file above them in place of those below."""
    if kind == OTHER:
        return [place for place in _list_below(cache_home()) if place.name not in KINDS]
    places = [cache_home() / kind]
    for _ in range(DEPTHS.get(kind, 1)):
        places = [below for place in places for below in _list_below(place)]
    return places


def _list_below(place: Path) -> list[Path]:
    """Return what lies in a folder; anything else is returned as it is. No link is followed."""
    if place.is_symlink() or not place.is_dir():
        return [place]
    with suppress(OSError):  # another process may be deleting it
        return sorted(place.iterdir())
    return []


def _read_entry(kind: str, place: Path) -> CacheEntry:
    files = tuple(_list_files(place))
    if place.is_symlink():
        return CacheEntry(kind, place.name, files, f"a link to {place.readlink()}", None)
    if not files or not all(file.regular for file in files):
        return CacheEntry(kind, place.name, files, "holds links, pipes or the like: it was not read", None)
    try:
        details, images = KINDS.get(kind, _describe_name)(place)
    except (OSError, ValueError, EOFError, LookupError, TypeError, DamagedFileError):
        details, images = "damaged, or written by another version", None
    return CacheEntry(kind, place.name, files, details, images)


def _list_files(place: Path) -> Iterator[CacheFile]:
    # Links to folders are among the folders, and not followed.
    inside = [Path(folder, name) for folder, folders, names in os.walk(place) for name in (*folders, *names)]
    for path in [place] if place.is_symlink() or not place.is_dir() else sorted(inside):
        # Another process may be deleting it.
        with suppress(FileNotFoundError):
            found = path.lstat()
            if not stat.S_ISDIR(found.st_mode):
                yield CacheFile(path, found.st_size, _find_last_use(path), stat.S_ISREG(found.st_mode))


def _find_last_use(path: Path) -> float:
    """Return when a file was last used, in seconds since 1970; of a link, a file that it leads to.

    A link that leads to very many files counts as used now: they are not all looked at.
    """
    used = path.lstat().st_mtime
    if not path.is_symlink():
        return used
    for looked_at, file in enumerate(chain([path], path.rglob("*"))):
        with suppress(OSError):
            used = max(used, file.stat().st_mtime if file.is_file() else 0.0)
        if looked_at == MOST_LOOKED_AT:
            return time.time()
    return used


def _describe_embeddings(place: Path) -> tuple[str, int]:
    described = read_json(place / "space.json")
    return f"{described['network']}, weights {described['weights_as_configured']}", _count_rows(place)


def _count_rows(place: Path) -> int:
    shards = [file for file in place.rglob("*.npy") if not file.name.startswith(".")]
    return sum(len(np.load(shard, mmap_mode="r", allow_pickle=False)) for shard in shards)


def _describe_training(place: Path) -> tuple[str, None]:
    return f"a training of {_cut(place.stem)}", None


def _cut(name: str) -> str:
    """Return a name without the hash at its end, if it has one."""
    return name.rpartition("-")[0] or name


def _describe_dataset(place: Path) -> tuple[str, int]:
    described = read_json(place / "dataset.json")
    return "a list of photos" if described["files"] else "arrays", len(described["labels"])


def _describe_thumbnails(place: Path) -> tuple[str, int]:
    side = place.name.split("-")[2]
    return f"thumbnails of {side} x {side} pixels of all photos", _count_rows(place)


def _describe_split(place: Path) -> tuple[str, int]:
    described = read_json(place)
    sizes = {part: len(described[part]) for part in ("train", "validation", "test")}
    return ", ".join(f"{size} {part}" for part, size in sizes.items()), sum(sizes.values())


def _describe_format(place: Path) -> tuple[str, None]:
    return f"the number format of {_cut(place.stem)} here is {read_json(place)['chosen']}", None


def _describe_backbone(place: Path) -> tuple[str, None]:
    if place.parents[2] != cache_home() / "backbones":
        raise ValueError(f"{place} is no version of a model")
    return f"registered weights, version {place.name} of {place.parent.name}", None


def _describe_report(place: Path) -> tuple[str, None]:
    return f"the report of comparison {place.name}", None


def _describe_name(place: Path) -> tuple[str, None]:
    return place.name, None


# The folders of the cache; each function describes an entry and counts its images.
KINDS: dict[str, Callable[[Path], tuple[str, int | None]]] = {
    "embeddings": _describe_embeddings,
    "trainings": _describe_training,
    "datasets": _describe_dataset,
    "thumbnails": _describe_thumbnails,
    "splits": _describe_split,
    "number-formats": _describe_format,
    "backbones": _describe_backbone,
    "reports": _describe_report,
    "data": _describe_name,
    "studies": _describe_name,
}
# Those whose files hold images of their own.
SHARDED = ("embeddings", "thumbnails")
# What is downloaded for long, or could not be made again.
KEPT = ("data", "studies")
PRUNED = tuple(kind for kind in KINDS if kind not in KEPT)
# Whatever else lies in the cache.
OTHER = "other"
# Where the entries of a kind are, if not directly in its folder.
DEPTHS = {"backbones": 3}
