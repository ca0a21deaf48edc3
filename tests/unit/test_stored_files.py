"""Every kind of file that is kept from one command to the next: damaged in every way, it is made anew."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from helpers.damages import DAMAGES
from helpers.idx import write_idx
from helpers.photos import write_photos
from triptych.config.resolve import resolve_config
from triptych.data.boards import PreparedBoard, open_board, prepare_board
from triptych.system.paths import cache_home

# Returns what is read from a file that is made if it is missing, as bytes.
Read = Callable[[], bytes]


def prepare_small(folder: Path) -> PreparedBoard:
    """Prepare a board of 60 images of 4 x 4 pixels."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 40), ("t10k", 20)):
        labels = np.arange(count, dtype=np.uint8) % 2
        write_idx(folder, part, rng.integers(0, 256, size=(count, 4, 4), dtype=np.uint8), labels)
    settings = ["numpy_mlp.epochs=2", "torch_mlp.epochs=2", "numpy_mlp.hidden_units=[3]", "torch_mlp.hidden_units=[3]"]
    panels = ["numpy-mlp", "torch-mlp"]
    return prepare_board(resolve_config("digits", data=f"idx:{folder}", panels=panels, settings=settings).boards[0])


def read_board(prepared: PreparedBoard) -> bytes:
    data = open_board(prepared)
    arrays = (data.pixels, data.image_ids, data.labels, data.split.train, data.split.test)
    return b"".join(np.asarray(array).tobytes() for array in arrays)


def keep_pixels(folder: Path) -> tuple[Path, Read]:
    prepared = prepare_small(folder)
    return prepared.dataset_folder / "pixels.npy", lambda: read_board(prepared)


def keep_image_ids(folder: Path) -> tuple[Path, Read]:
    prepared = prepare_small(folder)
    return prepared.dataset_folder / "image-ids.npy", lambda: read_board(prepared)


def keep_description(folder: Path) -> tuple[Path, Read]:
    prepared = prepare_small(folder)
    return prepared.dataset_folder / "dataset.json", lambda: read_board(prepared)


def keep_thumbnails(folder: Path) -> tuple[Path, Read]:
    config = resolve_config("photos", data=str(write_photos(folder, {"a": 8, "b": 8}))).boards[0]
    prepared = prepare_board(config)
    [file] = cache_home().glob("thumbnails/*/*.npy")
    return file, lambda: read_board(prepared)


def keep_split(folder: Path) -> tuple[Path, Read]:
    prepared = prepare_small(folder)
    return prepared.split_file, lambda: read_board(prepared)


def keep_split_of_the_next_command(folder: Path) -> tuple[Path, Read]:
    prepared = prepare_small(folder)
    return prepared.split_file, lambda: read_board(prepare_board(prepared.config))


def train_twins(prepared: PreparedBoard, folder: Path) -> bytes:
    """Train both networks, or continue from their checkpoints; return their predictions and how they drift apart."""
    from triptych.panels.fitting import fit_panel
    from triptych.panels.twins import measure_drift
    from triptych.training.jobs import PanelJob

    jobs = [PanelJob(prepared, panel, 0) for panel in prepared.config.panels]
    models = [folder / f"model {len(list(folder.iterdir()))} {job.panel}" for job in jobs]
    data = open_board(prepared)
    fitted = [fit_panel(data, job, model, lambda metrics: None) for job, model in zip(jobs, models, strict=True)]
    drift = np.array(measure_drift(prepared, 0))
    assert len(drift) == 2
    return b"".join(panel.reference.probabilities.tobytes() for panel in fitted) + drift.tobytes()


def keep_checkpoint(folder: Path) -> tuple[Path, Read]:
    return keep_training(folder, "checkpoint.npz")


def keep_weights(folder: Path) -> tuple[Path, Read]:
    return keep_training(folder, "weights/epoch-00001.npz")


def keep_training(folder: Path, name: str) -> tuple[Path, Read]:
    from triptych.panels.identity import identify_training
    from triptych.training.jobs import PanelJob

    prepared = prepare_small(folder)
    training = identify_training(PanelJob(prepared, "torch-mlp", 0))
    return cache_home() / "trainings" / training / name, lambda: train_twins(prepared, folder)


def keep_embeddings(folder: Path) -> tuple[Path, Read]:
    shards, read = embed_small(folder)
    return shards[0], read


def keep_space(folder: Path) -> tuple[Path, Read]:
    """Keep the description of a space, which is written when a shard is."""
    shards, read = embed_small(folder)

    def read_anew() -> bytes:
        shards[0].unlink()
        return read()

    return shards[0].with_name("space.json"), read_anew


def embed_small(folder: Path) -> tuple[tuple[Path, ...], Read]:
    from triptych.transfer.embed import store_embeddings
    from triptych.transfer.records import load_embeddings
    from triptych.transfer.weights import load_backbone

    images, backbone = open_board(prepare_small(folder)).images, load_backbone("shufflenet_v2_x0_5", "bundled")

    def read() -> bytes:
        [record] = store_embeddings([backbone], images, batch_size=64, threads=1)
        return load_embeddings(record)[:].tobytes()

    [record] = store_embeddings([backbone], images, batch_size=64, threads=1)
    return record.shards, read


def keep_number_format(folder: Path) -> tuple[Path, Read]:
    from triptych.transfer import choose_precision
    from triptych.transfer.weights import load_backbone

    images, backbone = open_board(prepare_small(folder)).images, load_backbone("shufflenet_v2_x0_5", "bundled")

    def read() -> bytes:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(choose_precision, "is_worth_measuring", lambda backbone, images: True)
            patch.setattr(choose_precision, "measure_formats", lambda *given: ("float32-folded", []))
            chosen, _ = choose_precision.choose_format_for(backbone, images, ("float32", "float32-folded"))
        return chosen.encode()

    read()
    [file] = (cache_home() / "number-formats").iterdir()
    return file, read


KINDS = {
    "pixels": keep_pixels,
    "hashes of images": keep_image_ids,
    "labels and file names": keep_description,
    "thumbnails": keep_thumbnails,
    "split": keep_split,
    "split, next command": keep_split_of_the_next_command,
    "checkpoint": keep_checkpoint,
    "weights of an epoch": keep_weights,
    "embeddings": keep_embeddings,
    "description of embeddings": keep_space,
    "number format": keep_number_format,
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_of_the_cache_is_made_anew(
    kind: str, damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / "cache"))
    file, read = KINDS[kind](tmp_path / "data")
    expected = read()
    caplog.clear()
    DAMAGES[damage](file)
    with caplog.at_level(logging.WARNING):
        assert read() == expected
        assert f"{file} is damaged" in caplog.text
        caplog.clear()
        assert read() == expected
    assert caplog.text == ""
    assert file.is_file()


def test_all_files_may_be_damaged_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / "cache"))
    prepared = prepare_small(tmp_path / "data")
    expected = train_twins(prepared, tmp_path / "data") + read_board(prepared)
    for damage in ("empty", "folder"):
        for file in [file for file in (tmp_path / "cache").rglob("*") if file.is_file()]:
            DAMAGES[damage](file)
        assert train_twins(prepared, tmp_path / "data") + read_board(prepared) == expected


def test_twins_that_are_compared_later_are_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their checkpoints have no weights of the epochs before the last one."""
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / "cache"))
    prepared = prepare_small(tmp_path / "data")
    expected = train_twins(prepared, tmp_path / "data")
    for file in (tmp_path / "cache" / "trainings").rglob("epoch-*.npz"):
        file.unlink()
    assert train_twins(prepared, tmp_path / "data") == expected


def leak_test_images(content: dict[str, list[int]]) -> None:
    content["train"] += content["test"]


def forget_labels(content: dict[str, list[int]]) -> None:
    content["labels"] = [0] * len(content["labels"])


@pytest.mark.parametrize(("kind", "edit"), [("split", leak_test_images), ("labels and file names", forget_labels)])
def test_what_was_edited_is_made_anew(
    kind: str, edit: Callable[[dict[str, list[int]]], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / "cache"))
    file, read = KINDS[kind](tmp_path / "data")
    expected = read()
    content = json.loads(file.read_text())
    edit(content)
    file.write_text(json.dumps(content))
    assert read() == expected


def test_the_embeddings_of_other_images_are_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("triptych.data.shards.files.IMAGES_PER_SHARD", 30)
    shards, read = embed_small(tmp_path / "data")
    expected = read()
    shards[0].write_bytes(shards[1].read_bytes())
    assert read() == expected


def test_the_checkpoint_of_another_training_is_not_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / "cache"))
    file, read = keep_checkpoint(tmp_path / "data")
    expected = read()
    [other] = [found for found in file.parents[1].rglob(file.name) if found != file]
    file.write_bytes(other.read_bytes())
    assert read() == expected
