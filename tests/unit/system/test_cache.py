from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from helpers.rights import permissions_obeyed
from triptych.data.shards.files import write_rows
from triptych.errors import ConfigError, StorageError
from triptych.system.cache import KINDS, OTHER, SECONDS_PER_DAY, delete_files, list_cache, measure_cache, select_unused
from triptych.system.checked import write_json
from triptych.system.files import measure_folder, touch
from triptych.transfer.shards import write_shard

# What no prune deletes.
STAYING = {"data/mnist/raw", "studies/s.journal", "mine/a file"}


def age(file: Path, days: float) -> None:
    then = time.time() - days * SECONDS_PER_DAY
    os.utime(file, (then, then))


def write(file: Path, content: str, days: float = 0.0) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    age(file, days)
    return file


def describe(file: Path, content: dict[str, object], days: float) -> None:
    write_json(file, content)
    age(file, days)


def write_thumbnails(file: Path) -> Path:
    write_rows(file, np.zeros(5, dtype=[("identity", "S32")]), np.zeros((5, 32, 32, 3), dtype=np.uint8))
    return file


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with one entry of each kind; of the embeddings and thumbnails one file is old, one new."""
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path))
    space = tmp_path / "embeddings" / "resnet18-1"
    for name, rows, days in (("old", 4, 40), ("new", 3, 1)):
        write_shard(space / f"{name}.npy", np.array([b"an image"] * rows), np.zeros((rows, 2), dtype=np.float32))
        age(space / f"{name}.npy", days)
    describe(space / "space.json", {"network": "resnet18", "weights_as_configured": "imagenet"}, 40)
    write(tmp_path / "trainings" / "numpy-mlp-1" / "checkpoint.npz", "...", 50)
    write(tmp_path / "trainings" / "numpy-mlp-1" / "weights" / "epoch-00001.npz", "...", 60)
    describe(tmp_path / "datasets" / "d-1" / "dataset.json", {"files": [], "labels": [0, 1]}, 2)
    for name, days in (("old", 40), ("new", 1)):
        age(write_thumbnails(tmp_path / "thumbnails" / "pixels-6-32-pillow-1" / f"{name}.npy"), days)
    describe(tmp_path / "splits" / "s-1.json", {"train": [0], "validation": [], "test": [1]}, 60)
    describe(tmp_path / "number-formats" / "resnet18-1.json", {"chosen": "bfloat16"}, 60)
    write(tmp_path / "backbones" / "a-store" / "digits-resnet18" / "3" / "backbone.safetensors", "...", 60)
    write(tmp_path / "backbones" / "a-store" / "digits-resnet18" / "3" / "origin.json", "{}", 5)
    write(tmp_path / "backbones" / "a-store" / "digits-resnet18" / "2" / "backbone.safetensors", "...", 60)
    write(tmp_path / "reports" / "20260101-030000-abc123" / "report.html", "...", 60)
    write(tmp_path / "mine" / "a file", "...", 400)
    write(tmp_path / "data" / "mnist" / "raw", "downloaded", 400)
    write(tmp_path / "studies" / "s.journal", "results", 400)
    return tmp_path


def test_the_listing_names_everything_that_lies_there(cache: Path) -> None:
    entries = {entry.kind: entry for entry in list_cache()}
    assert list(entries) == [*KINDS, OTHER]
    assert [entry.images for entry in entries.values()] == [7, None, 2, 10, 2] + [None] * 6
    assert [entry.details for entry in list_cache(["number-formats", "backbones", "reports"])] == [
        "the number format of resnet18 here is bfloat16",
        "registered weights, version 3 of digits-resnet18",
        "registered weights, version 2 of digits-resnet18",
        "the report of comparison 20260101-030000-abc123",
    ]
    assert sum(entry.size_bytes for entry in list_cache()) == sum(measure_cache().values()) == measure_folder(cache)
    assert entries["embeddings"].details == "resnet18, weights imagenet"
    assert entries["thumbnails"].details == "thumbnails of 32 x 32 pixels of all photos"
    assert entries["trainings"].details == "a training of numpy-mlp"
    row = entries["embeddings"].as_row()
    assert row["unused_days"] == pytest.approx(1.0, abs=0.01)
    on_disk = sum(file.stat().st_size for file in (cache / "embeddings").rglob("*") if file.is_file())
    assert entries["embeddings"].size_bytes == on_disk


def left(cache: Path) -> set[str]:
    return {file.relative_to(cache).as_posix() for file in cache.rglob("*") if file.is_file()}


def test_what_was_not_used_for_some_days_is_deleted(cache: Path) -> None:
    delete_files(select_unused(list_cache(), 30))
    assert left(cache) == {
        "embeddings/resnet18-1/new.npy",
        "embeddings/resnet18-1/space.json",
        "datasets/d-1/dataset.json",
        "thumbnails/pixels-6-32-pillow-1/new.npy",
        "backbones/a-store/digits-resnet18/3/backbone.safetensors",
        "backbones/a-store/digits-resnet18/3/origin.json",
        *STAYING,
    }
    assert not (cache / "trainings" / "numpy-mlp-1").exists()


def test_downloads_studies_and_files_of_others_stay_even_if_everything_goes(cache: Path) -> None:
    delete_files(select_unused(list_cache(), 0))
    assert left(cache) == STAYING
    assert [entry.kind for entry in list_cache()] == ["data", "studies", "other"]


def test_a_link_is_deleted_and_what_it_leads_to_is_not(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    used, unused = write(outside / "used" / "file", "...", 1), write(outside / "unused" / "file", "...", 60)
    links = {
        cache / "embeddings" / "linked": unused.parent,
        cache / "trainings" / "numpy-mlp-1" / "linked": unused.parent,
        cache / "splits" / "linked.json": unused,
        cache / "splits" / "nowhere.json": outside / "nowhere",
        cache / "datasets" / "linked": used.parent,
    }
    for link, target in links.items():
        link.symlink_to(target)
        os.utime(link, (0.0, 0.0), follow_symlinks=False)
    (cache / "reports").rename(outside / "reports")
    (cache / "reports").symlink_to(outside / "reports")
    delete_files(select_unused(list_cache(), 30))
    assert [link for link in links if link.is_symlink()] == [cache / "datasets" / "linked"]
    assert (cache / "reports").is_symlink()
    delete_files(select_unused(list_cache(), 0))
    assert not any(path.is_symlink() for path in cache.rglob("*"))
    assert used.is_file()
    assert unused.is_file()
    assert (outside / "reports" / "20260101-030000-abc123" / "report.html").is_file()


def test_no_link_is_followed_wherever_it_lies(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = write(tmp_path_factory.mktemp("outside") / "model" / "3" / "weights", "...", 60)
    link = cache / "backbones" / "linked"
    link.symlink_to(outside.parents[2])
    os.utime(link, (0.0, 0.0), follow_symlinks=False)
    assert f"a link to {outside.parents[2]}" in [entry.details for entry in list_cache(["backbones"])]
    delete_files(select_unused(list_cache(), 0))
    assert not link.is_symlink()
    assert outside.is_file()


def test_a_link_to_very_many_files_counts_as_used(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triptych.system.cache.MOST_LOOKED_AT", 3)
    for number in range(3):
        write(cache / "mine" / str(number), "...", 60)
    (cache / "splits" / "many.json").symlink_to(cache / "mine")
    [file] = (file for entry in list_cache(["splits"]) for file in entry.files if file.path.is_symlink())
    assert time.time() - file.used < SECONDS_PER_DAY


@pytest.mark.timeout(20)
def test_files_of_others_are_listed_without_reading_them(cache: Path) -> None:
    """A pipe would be waited for, and `/dev/zero` has no end."""
    os.mkfifo(cache / "splits" / "pipe.json")
    os.mkfifo(cache / "datasets" / "d-1" / "pipe")
    (cache / "embeddings" / "resnet18-1" / "zero.npy").symlink_to("/dev/zero")
    write_json(cache / "splits" / "s-2.json", {"of": "another version"})
    strays = [write(cache / "backbones" / name, "...", 60) for name in ("a file", "a-store/a file")]
    strays += [write(cache / kind / "a file", "...", 60) for kind in ("thumbnails", "embeddings", "trainings")]
    entries = list_cache()
    described = {entry.name: entry.details for entry in entries}
    unread = "holds links, pipes or the like: it was not read"
    assert [described[name] for name in ("pipe.json", "d-1", "resnet18-1")] == [unread] * 3
    assert described["s-2.json"] == "damaged, or written by another version"
    assert {file.path for entry in entries for file in entry.files} >= {*strays, cache / "mine" / "a file"}
    delete_files(select_unused(entries, 0))
    assert left(cache) == STAYING


def test_what_may_not_be_deleted_is_named_and_the_others_go(cache: Path) -> None:
    locked = cache / "trainings" / "numpy-mlp-1"
    locked.chmod(0o500)
    message = rf"^1 file\(s\) of the cache cannot be deleted, such as {locked}/checkpoint.npz \(Permission denied\): "
    with permissions_obeyed(), pytest.raises(StorageError, match=message):
        delete_files(select_unused(list_cache(), 0))
    locked.chmod(0o700)
    assert left(cache) == STAYING | {"trainings/numpy-mlp-1/checkpoint.npz"}


def test_one_kind_may_be_chosen_and_a_use_counts(cache: Path) -> None:
    touch(cache / "trainings" / "numpy-mlp-1" / "checkpoint.npz", cache / "nowhere")
    assert select_unused(list_cache(["trainings"]), 30) == []
    assert [file.path.name for file in select_unused(list_cache(["splits"]), 30)] == ["s-1.json"]


def test_what_cannot_be_read_is_listed_as_such(cache: Path) -> None:
    write(cache / "splits" / "s-1.json", "{")
    write(cache / "embeddings" / "resnet18-1" / "new.npy", "")
    for entry in list_cache(["splits", "embeddings"]):
        assert (entry.details, entry.images) == ("damaged, or written by another version", None)


def test_slips_are_named(cache: Path) -> None:
    del cache
    with pytest.raises(ConfigError, match=r"unknown kind 'training': .*did you mean 'trainings'"):
        list_cache(["training"])
    with pytest.raises(ConfigError, match="--older-than -1 is not a number of days: give 0 or more"):
        select_unused([], -1)
