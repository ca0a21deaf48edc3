from __future__ import annotations

from typer.testing import CliRunner

from triptych.cli import app


def test_help_says_what_the_answers_are() -> None:
    shown = CliRunner().invoke(app, ["verify", "--help"])
    assert shown.exit_code == 0
    for words in ("the same bits", "to 1e-6", "--record-only"):
        assert words in " ".join(shown.stdout.split())
