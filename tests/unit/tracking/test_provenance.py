from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import pytest

from triptych.data.boards import BoardData
from triptych.tracking.provenance import describe_board, describe_dataset, find_commit, pin_requirements


def test_the_tags_say_where_a_result_comes_from(digits: BoardData) -> None:
    tags = describe_board(digits.prepared)
    assert (tags["board"], tags["data"], tags["split_id"]) == ("digits", "digits", digits.prepared.split_id)
    assert tags["test_set"] == digits.prepared.test_set_id
    assert tags["images.test"] == str(len(digits.split.test))
    assert tags["version.torch"] == version("torch")
    assert len(tags["data_sha256"]) == 64


def test_the_data_set_has_a_digest_that_mlflow_takes(digits: BoardData) -> None:
    described = describe_dataset(digits.prepared)
    assert digits.prepared.data_digest.startswith(described.dataset.digest)
    assert json.loads(described.dataset.profile or "")["test"] == 540


def test_requirements_are_exact_and_have_no_local_version() -> None:
    pinned = pin_requirements(["torch"])
    assert pinned == [f"mlflow=={version('mlflow')}", f"torch=={version('torch')}"]
    assert not any("+" in requirement for requirement in pinned)


def test_outside_of_a_checkout_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triptych.tracking.provenance.project_root", lambda: tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    assert find_commit() is None
