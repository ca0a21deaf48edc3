from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow.utils.file_utils import local_file_uri_to_path
from typer.testing import CliRunner

from helpers.comparisons import Recorded
from triptych.cli import app
from triptych.errors import ConfigError
from triptych.evaluation.predictions import load_predictions, save_predictions
from triptych.panels import identity
from triptych.tracking.client import connect
from triptych.tracking.tags import PREFIX, REPEAT, read_tags, set_tags
from triptych.tracking.verification.agreement import Agreement
from triptych.tracking.verification.verify import VERIFIED, Verification, find_runs, verify_runs


def verify(recorded: Recorded, *, record_only: bool = False) -> Verification:
    [verified] = verify_runs(find_runs(recorded.panel.run_id), record_only=record_only)
    return verified


def test_a_run_trained_again_gives_the_same_bits(recorded: Recorded) -> None:
    verified = verify(recorded)
    assert (verified.agreement, verified.largest, verified.differences) == (Agreement.BITS, 0.0, ())
    assert read_tags(connect().get_run(recorded.panel.run_id))[VERIFIED] == "the same bits"


def find_file(recorded: Recorded, name: str) -> Path:
    """Return an artifact of the panel's run, or a file of its model."""
    run = connect().get_run(recorded.panel.run_id)
    folder = Path(local_file_uri_to_path(run.info.artifact_uri))
    if (folder / name).is_file():
        return folder / name
    model = connect().get_logged_model(recorded.panel.model_uri.removeprefix("models:/"))
    return next(Path(local_file_uri_to_path(model.artifact_location)).rglob(name))


@contextmanager
def edited(file: Path, edit: Callable[[Path], object]) -> Iterator[None]:
    """Edit a file that all tests share while the block runs."""
    before = file.read_bytes()
    edit(file)
    yield
    file.write_bytes(before)


def replace_text(old: str, new: str) -> Callable[[Path], object]:
    return lambda file: file.write_text(file.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")


def swap_an_answer(file: Path) -> None:
    predictions = load_predictions(file)
    probabilities = predictions.probabilities.copy()
    probabilities[0] = probabilities[0, ::-1]
    save_predictions(replace(predictions, probabilities=probabilities), file)


EDITS = {
    "config.yaml": replace_text("epochs: 2", "epochs: 3"),
    "ingredients.json": replace_text('"seed": 0', '"seed": 1'),
    "test_predictions.npz": swap_an_answer,
    "weights.npz": lambda file: file.write_bytes(file.read_bytes() + b"\0"),
}
NAMES = {"test_predictions.npz": "test predictions", "weights.npz": "model"}


@pytest.mark.parametrize("name", EDITS)
def test_an_edited_file_is_named(recorded: Recorded, name: str) -> None:
    with edited(find_file(recorded, name), EDITS[name]):
        answers = [verify(recorded, record_only=record_only) for record_only in (True, False)]
    for verified in answers:
        assert [one.name for one in verified.differences] == [NAMES.get(name, name)]
        assert not verified.holds


CIRCUMSTANCES = {
    "code": ("hash_code", "0" * 64),
    "libraries.numpy": ("find_libraries", identity.find_libraries(identity.HERE) | {"numpy": "1.0"}),
}


@pytest.mark.parametrize("name", CIRCUMSTANCES)
def test_other_code_or_libraries_are_named(recorded: Recorded, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function, value = CIRCUMSTANCES[name]
    monkeypatch.setattr(identity, function, lambda package: value)
    verified = verify(recorded, record_only=True)
    assert [one.name for one in verified.differences] == [name]
    assert not verified.holds
    # The training itself decides: the code is another, but computes the same.
    verified = verify(recorded)
    assert (verified.answer, [one.name for one in verified.differences]) == ("the same bits", [name])
    assert verified.holds


def test_another_seed_is_named(recorded: Recorded) -> None:
    set_tags(connect(), recorded.panel.run_id, {REPEAT: "1"})
    verified = verify(recorded)
    assert (verified.answer, [one.name for one in verified.differences]) == ("different", ["seed"])
    assert verified.largest is not None
    assert verified.largest > 1e-6


def test_runs_are_found_by_any_of_their_names(recorded: Recorded) -> None:
    run_id = recorded.panel.run_id
    for name in (recorded.comparison.comparison, recorded.comparison.run_id, run_id):
        assert [run.info.run_id for run in find_runs(name)] == [run_id]
    with pytest.raises(ConfigError, match="no comparison 'nothing'"):
        find_runs("nothing")


def test_the_command_prints_the_answer_and_ends_with_its_code(recorded: Recorded) -> None:
    same = CliRunner().invoke(app, ["verify", recorded.comparison.comparison, "--json"])
    assert same.exit_code == 0
    [answer] = json.loads(same.stdout)
    assert (answer["answer"], answer["holds"], answer["run_id"]) == ("the same bits", True, recorded.panel.run_id)
    connect().set_tag(recorded.panel.run_id, f"{PREFIX}sha256.test_predictions", "0" * 64)
    different = CliRunner().invoke(app, ["verify", recorded.comparison.comparison, "--record-only"])
    assert different.exit_code == 1
    assert "not as recorded" in different.stdout
    assert "- test predictions was 000000000000000000000000..., is " in different.stdout
