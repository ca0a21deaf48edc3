"""A table of images gives what a folder of the same images gives, to the bit, from the command to the weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from helpers.commands import run
from helpers.photos import write_photos
from triptych.config.resolve import name_source, resolve_config, resolve_data
from triptych.config.schema import BoardConfig
from triptych.data.boards import BoardData, load_board, open_board, prepare_board
from triptych.data.checks.examine import examine
from triptych.data.datasets import fetch_dataset
from triptych.errors import ConfigError, DataError
from triptych.images.decoding import decode_image
from triptych.images.sources import FileImages
from triptych.networks.saved import ARRAYS
from triptych.training.jobs import PanelJob

PARTS = {"Train_set": 6, "dev": 3, "TEST": 3}
PANEL, SEED = "numpy-mlp", 4


def write_parts(folder: Path) -> Path:
    for seed, (part, count) in enumerate(PARTS.items()):
        write_photos(folder / part, {"bees": count, "ants": count}, seed=seed)
    (folder / "dev" / "ants" / "sub").mkdir()
    (folder / "dev" / "ants" / "0.jpg").rename(folder / "dev" / "ants" / "sub" / "9.jpg")
    return folder


def list_rows(folder: Path) -> list[list[str]]:
    """Return the path and the label of each image of a folder, in another order than that of a scan."""
    files = sorted(folder.rglob("*.jpg"), key=lambda file: (file.name, file.parent))
    return [[file.relative_to(folder).as_posix(), "ants" if "ants" in file.parts else "bees"] for file in files]


def write_table(file: Path, header: str, rows: list[list[str]]) -> Path:
    file.write_text("\n".join([header, *map(",".join, rows)]))
    return file


def write_plain(folder: Path) -> str:
    write_photos(folder, {"bees": 12, "ants": 12})
    return str(write_table(folder / "labels.csv", "path,label", list_rows(folder)))


def write_with_split(folder: Path) -> str:
    rows = [[*row, row[0].partition("/")[0]] for row in list_rows(write_parts(folder))]
    return f"table:{write_table(folder / 'labels.csv', 'path,label,split', rows)}"


def write_val_for_test(folder: Path) -> str:
    source = write_with_split(folder)
    shutil.rmtree(folder / "TEST")
    table = folder / "labels.csv"
    table.write_text("\n".join(line for line in table.read_text().splitlines() if "TEST" not in line))
    return source


def write_metadata(folder: Path) -> str:
    write_parts(folder)
    for part in PARTS:
        write_table(folder / part / "metadata.csv", "file_name,label", list_rows(folder / part))
    return f"table:{folder}"


def configure(source: str, **sections: object) -> BoardConfig:
    fields = {"data": {"source": source}, "split": {"seed": SEED}, "numpy_mlp": {"epochs": 2}, "panels": [PANEL]}
    return BoardConfig.model_validate(fields | sections)


def open_prepared(source: str, **sections: object) -> BoardData:
    return load_board(prepare_board(configure(source, **sections)))


def number_images(data: BoardData) -> list[int]:
    """Return the number that is the name of each image's file."""
    return [int(file.stem) for file in cast("FileImages", data.images).files]


def train(data: BoardData, folder: Path) -> bytes:
    """Return the weights of a network that is trained on a board."""
    from triptych.panels.fitting import fit_panel

    fit_panel(data, PanelJob(data.prepared, PANEL, 0), folder, lambda metrics: None)
    return (folder / ARRAYS).read_bytes()


@pytest.mark.parametrize("write", [write_plain, write_with_split, write_val_for_test, write_metadata])
def test_a_table_gives_the_same_bits_as_a_folder(
    write: Callable[[Path], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "photos")
    boards, weights = [], []
    for name, data in (("folder", f"folder:{tmp_path / 'photos'}"), ("table", source)):
        monkeypatch.setenv("TRIPTYCH_CACHE_HOME", str(tmp_path / f"cache of the {name}"))
        boards.append(open_prepared(data))
        weights.append(train(boards[-1], tmp_path / name))
    folder, table = boards
    for field in ("data_digest", "classes", "root", "split_id", "test_set_id", "sizes", "grows"):
        assert getattr(table.prepared, field) == getattr(folder.prepared, field)
    for field in ("pixels", "labels", "image_ids"):
        np.testing.assert_array_equal(getattr(table, field), getattr(folder, field))
    assert table.images == folder.images
    assert table.image_weights is None
    assert weights[0] == weights[1]


def test_groups_stay_together_and_weights_reach_the_board(tmp_path: Path) -> None:
    write_photos(tmp_path, {"ants": 16, "bees": 16})
    rows = [
        [path, label, f"g{number // 2}", str(number + 1)]
        for path, label in list_rows(tmp_path)
        for number in [int(Path(path).stem)]
    ]
    source = str(write_table(tmp_path / "t.csv", "path,label,group,weight", rows))
    plain, grouped = open_prepared(source), open_prepared(source, split={"group_by": "group"})
    assert any("split.group_by=group keeps" in note for note in plain.prepared.notes)
    assert not any("split.group_by=group keeps" in note for note in grouped.prepared.notes)
    assert any("makes 8 groups of 32 images" in note for note in grouped.prepared.notes)
    numbers = number_images(grouped)
    for first in range(0, 16, 2):
        assert len(set(grouped.split.parts()[np.isin(numbers, (first, first + 1))])) == 1
    assert plain.image_weights is not None
    np.testing.assert_array_equal(plain.image_weights, np.array(number_images(plain)) + 1)
    # They belong to the digest, each by itself.
    digests = {
        open_prepared(source, data={"source": source, **columns}).prepared.data_digest
        for columns in ({}, {"group_column": "none"}, {"weight_column": "none"})
    }
    without = open_prepared(source, data={"source": source, "group_column": "none", "weight_column": "none"})
    assert len(digests | {without.prepared.data_digest}) == 4
    assert without.prepared.data_digest == fetch_dataset(f"folder:{tmp_path}").digest
    with pytest.raises(DataError, match=r"split\.group_by=group finds no group in t\.csv, where no table gives"):
        open_prepared(source, data={"source": source, "group_column": "none"}, split={"group_by": "group"})


def test_images_outside_the_folder_of_the_table_are_found_again_and_named_by_their_paths(tmp_path: Path) -> None:
    rows = list_rows(write_photos(tmp_path / "photos", {"ants": 12, "bees": 12}))
    broken = tmp_path / "photos" / "ants" / "3.jpg"
    content = broken.read_bytes()
    for number, prefix in enumerate(("../photos", f"{tmp_path}/photos")):
        table = tmp_path / "tables" / f"{number}.csv"
        table.parent.mkdir(exist_ok=True)
        write_table(table, "path,label", [[f"{prefix}/{path}", label] for path, label in rows])
        broken.write_bytes(content)
        data = open_board(open_prepared(str(table)).prepared)
        np.testing.assert_array_equal(data.images[0], decode_image(tmp_path / "photos" / "ants" / "0.jpg"))
        broken.write_bytes(b"no image")
        [finding] = examine(str(table)).of("error")
        assert [image.name for example in finding.examples for image in example.images] == [f"{prefix}/ants/3.jpg"]


def test_columns_that_settings_name_are_used_by_compare_and_check(tmp_path: Path) -> None:
    rows = list_rows(write_photos(tmp_path, {"ants": 12, "bees": 12}))
    source = write_table(tmp_path / "t.csv", "where,what", rows)
    settings = ["data.path_column=where", "data.label_column=what"]
    [board] = resolve_config(data=str(source), settings=settings, panels=[PANEL]).boards
    assert prepare_board(board).data_digest == fetch_dataset(f"folder:{tmp_path}").digest
    assert board.name == f"photos-{name_source(f'table:{source}')}"
    done = run("check", str(source), "--json", *(word for setting in settings for word in ("--set", setting)))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["images"] == 24
    with pytest.raises(DataError, match=r"data\.path_column names a column, but folder:.* is no table: leave it out"):
        examine(resolve_data(str(tmp_path), settings).data)
    with pytest.raises(ConfigError, match="--set numpy_mlp concerns no data"):
        resolve_data("digits", ["numpy_mlp.epochs=3"])


def test_a_folder_with_only_metadata_is_read_by_it_and_one_with_classes_says_that_it_is_not(tmp_path: Path) -> None:
    rows = list_rows(write_photos(tmp_path / "photos", {"ants": 3, "bees": 3}))
    write_table(tmp_path / "photos" / "metadata.csv", "file_name,label", rows)
    assert "metadata.csv was not read: table:" in fetch_dataset(f"folder:{tmp_path / 'photos'}").notes[0]
    (tmp_path / "flat").mkdir()
    for path, label in rows:
        shutil.copy(tmp_path / "photos" / path, tmp_path / "flat" / f"{label}-{Path(path).name}")
    flat = [[f"{label}-{Path(path).name}", label] for path, label in rows]
    write_table(tmp_path / "flat" / "metadata.csv", "file_name,label", flat)
    assert fetch_dataset(f"folder:{tmp_path / 'flat'}").classes == ("ants", "bees")
    assert examine(str(tmp_path / "flat")).images == 6
