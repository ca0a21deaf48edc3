from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from triptych.cli import app
from triptych.errors import InputError


def test_the_labels_of_the_digits_are_not_suspected(tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["check", "digits", "--labels", "--to", str(tmp_path)])
    assert found.exit_code == 0, found.output
    assert found.stdout.startswith("digits: 0 of 1,797 labels are probably wrong; models that have not seen the image")
    assert "labelled 4" in found.stdout  # an outlier
    assert "written: " in found.stderr
    assert len((tmp_path / "corrections.csv").read_text().splitlines()) == 1798
    as_json = CliRunner().invoke(app, ["check", "digits", "--labels", "--json"])
    assert json.loads(as_json.stdout)["suspects"] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--to", "somewhere"], "--labels"),
        (["--labels", "--panel", "numpy-mlp"], "--panel numpy-mlp has no embeddings: name a pretrained network"),
        (["--labels", "--panel", "resnet5"], "resnet50"),
        (["--labels", "--panel", "resnet50", "--set", "transfer.weights=none.pth"], "none.pth does not exist"),
        (["--labels", "--to", "/proc/none"], "cannot write to /proc/none"),
    ],
)
def test_bad_input_is_refused(arguments: list[str], words: str) -> None:
    error = CliRunner().invoke(app, ["check", "digits", *arguments]).exception
    assert words in str(error)
    assert isinstance(error, InputError)
