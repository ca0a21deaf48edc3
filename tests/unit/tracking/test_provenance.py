from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import mlflow
import pytest

from helpers.comparisons import Recorded
from triptych.data.boards import BoardData
from triptych.errors import ConfigError
from triptych.tracking.client import connect
from triptych.tracking.provenance import (
    PREDICTIONS,
    describe_board,
    describe_dataset,
    find_commit,
    load_record,
    pin_requirements,
)
from triptych.tracking.tags import PREFIX


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


def test_the_record_of_a_run_says_what_it_depends_on(recorded: Recorded) -> None:
    record = load_record(connect().get_run(recorded.panel.run_id))
    prepared = recorded.comparison.prepared
    assert (record.panel, record.repeat) == ("numpy-mlp", 0)
    assert record.config == prepared.config
    assert record.ingredients["data"] == prepared.data_digest
    assert record.ingredients["settings"]["epochs"] == 2
    assert {"python", "system", "cores", "blas"} == set(record.ingredients["processor"])
    assert record.ingredients["libraries"]["numpy"] == version("numpy")


def test_the_configuration_of_a_comparison_is_an_artifact(recorded: Recorded) -> None:
    text = mlflow.artifacts.load_text(f"runs:/{recorded.comparison.run_id}/config.yaml")
    assert "epochs: 2" in text


def test_a_run_without_a_record_is_refused(recorded: Recorded) -> None:
    client = connect()
    client.delete_tag(recorded.panel.run_id, f"{PREFIX}{PREDICTIONS}")
    with pytest.raises(ConfigError, match=r"has no complete record .* run `triptych compare` again"):
        load_record(client.get_run(recorded.panel.run_id))
