from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import mlflow
import pytest

from helpers.comparisons import Recorded
from helpers.damages import DAMAGES
from triptych.errors import ConfigError, DamagedFileError
from triptych.panels.identity import TRAINING
from triptych.panels.kinds import KINDS
from triptych.tracking.artifacts import load_logged_model
from triptych.tracking.client import connect
from triptych.tracking.registry import (
    _find_registered,
    challenge,
    fetch_model,
    find_champion,
    find_version,
    load_version,
    promote,
    register_panel,
    rollback,
)
from triptych.tracking.tags import PREFIX


def test_the_first_challenger_is_the_champion_and_is_judged_once(recorded: Recorded) -> None:
    prepared = recorded.comparison.prepared
    first = challenge(prepared, recorded.panel)
    assert (first.promoted, first.reason) == (True, "there was no champion")
    again = challenge(prepared, recorded.panel)
    assert (again.promoted, again.reason) == (True, "there was no champion")
    champion = find_champion("digits")
    assert champion is not None
    assert champion.run_id == recorded.panel.run_id
    assert champion.tags[PREFIX + "split_id"] == prepared.split_id
    assert "540 test images" in str(champion.description)


def test_a_champion_of_another_split_is_not_compared(recorded: Recorded) -> None:
    challenge(recorded.comparison.prepared, recorded.panel)
    other = replace(recorded.comparison.prepared, split_id="0123456789abcdef")
    panel = replace(recorded.panel, run_id=recorded.comparison.run_id)
    refused = challenge(other, panel)
    assert not refused.promoted
    assert f"was tested on split {recorded.comparison.prepared.split_id}" in refused.reason


def test_a_champion_is_promoted_and_rolled_back_by_hand(recorded: Recorded) -> None:
    challenge(recorded.comparison.prepared, recorded.panel)
    with pytest.raises(ConfigError, match="is its first champion"):
        rollback("digits")
    mlflow.register_model(recorded.panel.model_uri, "digits")
    promote("digits", "2")
    assert str(find_version("digits").version) == "2"
    assert rollback("digits") == "1"
    assert str(find_version("digits@champion").version) == "1"


def test_what_is_not_registered_is_named(recorded: Recorded) -> None:
    register_panel(recorded.comparison.prepared, recorded.panel)
    for reference in ("digits-numpy-mlp/2", "digits-numpy-mlp@champion", "nothing"):
        with pytest.raises(ConfigError, match="digits-numpy-mlp"):
            find_version(reference)
    with pytest.raises(
        ConfigError, match="no version with number '7': it has version 1; name one as digits-numpy-mlp/1"
    ):
        promote("digits-numpy-mlp", "7")
    with pytest.raises(ConfigError, match="no version with alias 'champion': it has version 1"):
        rollback("digits-numpy-mlp")
    assert find_champion("nothing") is None


def test_a_model_whose_files_are_gone_is_refused(recorded: Recorded, tmp_path: Path) -> None:
    register_panel(recorded.comparison.prepared, recorded.panel)
    gone = connect().create_model_version("digits-numpy-mlp", str(tmp_path / "gone"))
    with pytest.raises(ConfigError, match="the files of models:/digits-numpy-mlp/2 cannot be read"):
        fetch_model("digits-numpy-mlp/2", tmp_path / "fetched")
    with pytest.raises(ConfigError, match="train again with `triptych compare --fresh`"):
        load_version(gone)


def test_a_version_is_a_number_however_it_is_written(recorded: Recorded) -> None:
    challenge(recorded.comparison.prepared, recorded.panel)
    assert promote("digits", "01") == "1"
    assert find_version("digits/001").version == find_version("digits").version
    with pytest.raises(ConfigError, match="is its first champion"):
        rollback("digits")
    for number in ("", "-1", "1.0", "\uff11", "1/2"):
        with pytest.raises(ConfigError, match="has no version with number"):
            promote("digits", number)


def test_a_model_that_was_judged_before_is_known_as_such(recorded: Recorded) -> None:
    first = challenge(recorded.comparison.prepared, recorded.panel)
    run = connect().create_run(
        recorded.comparison.experiment_id, tags={PREFIX + TRAINING: recorded.fitted.tags[TRAINING]}
    )
    again = challenge(recorded.comparison.prepared, replace(recorded.panel, run_id=run.info.run_id, restored_epochs=2))
    assert (first.promoted, first.earlier) == (True, False)
    assert (again.promoted, again.earlier) == (True, True)


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


@pytest.mark.parametrize("draws", [False, True])
def test_a_panel_that_draws_nothing_is_registered_once(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch, *, draws: bool
) -> None:
    """A second run of it brings nothing new; one that draws, and was not restored, may."""
    prepared = recorded.comparison.prepared
    register_panel(prepared, recorded.panel)
    monkeypatch.setitem(KINDS, "numpy_mlp", replace(KINDS["numpy_mlp"], draws=lambda settings: draws))
    training = recorded.fitted.tags[TRAINING]
    found = _find_registered("digits-numpy-mlp", prepared, replace(recorded.panel, run_id="another"), training)
    assert (found is None) == draws
