from __future__ import annotations

import pytest
from typer.testing import CliRunner

from triptych.cli import app
from triptych.errors import ConfigError


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--draws", "2"], "--draws 2 is not allowed: it must be between 3 and 1,000"),
        (["--set", "split.folds=5", "--panel", "most-frequent"], "split.folds = 5 has no single test set"),
    ],
)
def test_bad_input_is_refused_before_anything_is_read(arguments: list[str], words: str) -> None:
    error = CliRunner().invoke(app, ["amount", *arguments]).exception
    assert isinstance(error, ConfigError)
    assert words in str(error)
