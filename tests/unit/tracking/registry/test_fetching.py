from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from helpers.comparisons import Recorded
from helpers.damages import DAMAGES
from triptych.errors import ConfigError, DamagedFileError
from triptych.tracking.artifacts import load_logged_model
from triptych.tracking.client import connect
from triptych.tracking.registry.champions import challenge, register_panel
from triptych.tracking.registry.fetching import fetch_model


def test_a_model_whose_files_are_gone_is_refused(recorded: Recorded, tmp_path: Path) -> None:
    register_panel(recorded.comparison.prepared, recorded.panel)
    connect().create_model_version("digits-numpy-mlp", str(tmp_path / "gone"))
    with pytest.raises(ConfigError, match="the files of models:/digits-numpy-mlp/2 cannot be read"):
        fetch_model("digits-numpy-mlp/2", tmp_path / "fetched")


@pytest.mark.parametrize("name", ["a file", "a file/folder"])
def test_a_folder_that_is_none_is_refused(name: str, recorded: Recorded, tmp_path: Path) -> None:
    register_panel(recorded.comparison.prepared, recorded.panel)
    (tmp_path / "a file").touch()
    with pytest.raises(ConfigError, match=r"cannot be used \(.*\): name another"):
        fetch_model("digits-numpy-mlp/1", tmp_path / name)


def test_a_fetched_model_has_a_card_and_checksums(recorded: Recorded, tmp_path: Path) -> None:
    register_panel(recorded.comparison.prepared, recorded.panel)
    folder = fetch_model("digits-numpy-mlp/1", tmp_path / "fetched")
    assert "540 test images" in (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    lines = [line.split("  ") for line in (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines()]
    assert {"MLmodel", "MODEL_CARD.md"} <= {name for _, name in lines}
    for digest, name in lines:
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    with pytest.raises(ConfigError, match="is not empty: name a new one"):
        fetch_model("digits-numpy-mlp/1", folder)
    with pytest.raises(ConfigError, match=r"--format 'onxx' is not allowed: .*did you mean 'onnx'"):
        fetch_model("digits-numpy-mlp/1", tmp_path / "other", "onxx")


@contextmanager
def damaged(recorded: Recorded, name: str) -> Iterator[Path]:
    """Flip a bit of a file of the logged model while the block runs."""
    model = connect().get_logged_model(recorded.panel.model_uri.removeprefix("models:/"))
    file = Path(urlsplit(str(model.artifact_location)).path) / name
    content = file.read_bytes()
    DAMAGES["flip"](file)
    try:
        yield file
    finally:
        file.write_bytes(content)


def test_a_model_that_was_damaged_in_the_store_is_refused(recorded: Recorded, tmp_path: Path) -> None:
    register_panel(recorded.comparison.prepared, recorded.panel)
    with damaged(recorded, "data/model/weights.npz"):
        with pytest.raises(DamagedFileError, match=r"models:/digits-numpy-mlp/1 is damaged .*, which is on its card"):
            fetch_model("digits-numpy-mlp/1", tmp_path / "fetched")
        assert not (tmp_path / "fetched").exists()
        with pytest.raises(DamagedFileError, match=r"weights\.npz is damaged"):
            load_logged_model("models:/digits-numpy-mlp/1")
        with pytest.raises(DamagedFileError, match=r"weights\.npz is damaged"):
            challenge(recorded.comparison.prepared, recorded.panel)
    assert fetch_model("digits-numpy-mlp/1", tmp_path / "fetched").is_dir()


@pytest.mark.parametrize("name", ["data/model/weights.npz", "requirements.txt", "code/triptych/networks/head.py"])
def test_a_fetched_model_that_was_damaged_is_not_loaded(recorded: Recorded, tmp_path: Path, name: str) -> None:
    register_panel(recorded.comparison.prepared, recorded.panel)
    folder = fetch_model("digits-numpy-mlp/1", tmp_path / "fetched")
    (folder / "notes.txt").write_text("of the user")
    load_logged_model(str(folder))
    DAMAGES["flip"](folder / name)
    with pytest.raises(DamagedFileError, match=f"{name} is damaged .*: fetch or train the model again"):
        load_logged_model(str(folder))
