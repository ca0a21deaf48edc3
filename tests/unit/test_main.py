from __future__ import annotations

import runpy

import pytest

import triptych.__main__
from triptych import __version__


def test_the_module_runs_the_command_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["triptych", "--version"])
    monkeypatch.setattr("triptych.cli.atexit.register", lambda function: None)
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(triptych.__main__.__file__, run_name="__main__")
    assert capsys.readouterr().out == f"triptych {__version__}\n"
